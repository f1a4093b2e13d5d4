"""Text detection: from a map of probabilities to boxes around lines (DB, "differentiable binarization").

The constants are those of the official worker, which takes them from RapidOCR.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from ml_target.tensors import Array, Float32, Tensor, UInt8

THRESHOLD = 0.3
"""A cell above it belongs to text."""
GROWTH = 1.6
"""The network marks the shrunken core of a line; the box grows back by area * this / perimeter on every side."""
MIN_SIDE = 3
"""Cells: a box with a shorter side than this is noise. After growing, two more are needed."""
MIN_PIXELS = 4
"""Picture pixels: boxes with a shorter top or left edge are dropped."""
MAX_CANDIDATES = 1000
"""Contours examined, in OpenCV's order."""
SAME_LINE = 10
"""Picture pixels: boxes whose tops follow each other in smaller steps stand in one row."""

_AVERAGED = (np.uint8, np.uint16, np.float32)  # what OpenCV can average; everything else becomes float32


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes in reading order.

    `corners`: N x 4 x 2 float32, whole picture pixels, top-left, top-right, bottom-right, bottom-left;
    `scores`: N float32; `unseen`: how many contours were left unexamined.
    """

    corners: Float32
    scores: Float32
    unseen: int = 0


def find_boxes(
    probability: Tensor, size: tuple[int, int], min_score: float, max_candidates: int = MAX_CANDIDATES
) -> Boxes:
    """The boxes whose mean probability is at least `min_score`.

    `probability`: H x W x 1, the map of the whole picture and nothing else, floats or integers as they
    left the engine; `size`: height and width of the picture in pixels.
    """
    plane = _plane(probability.values)
    contours = _contours(_mask(plane, probability.raw(THRESHOLD)))
    found: list[Float32] = []
    scores: list[float] = []
    for contour in contours[:max_candidates]:
        centre, (width, height), angle = cv2.minAreaRect(contour)
        if min(width, height) < MIN_SIDE:
            continue
        core = cv2.boxPoints((centre, (width, height), angle))
        score = (_mean_inside(plane, core) - probability.zero_point) * probability.scale
        # The polygon offset that the reference uses, then its smallest rectangle, is this rectangle.
        growth = width * height * GROWTH / (width + height)
        if not score >= min_score or min(width, height) + growth < MIN_SIDE + 2:
            continue
        found.append(np.asarray(cv2.boxPoints((centre, (width + growth, height + growth), angle)), np.float32))
        scores.append(score)
    if not found:
        return Boxes(np.empty((0, 4, 2), np.float32), np.empty(0, np.float32), max(0, len(contours) - max_candidates))
    corners = _in_picture(np.array(found), plane.shape, size)
    big = (np.square(corners[:, [1, 3]] - corners[:, :1]).sum(axis=2) >= MIN_PIXELS**2).all(axis=1)
    corners, kept_scores = corners[big], np.asarray(scores, np.float32)[big]
    order = reading_order(corners)
    return Boxes(corners[order], kept_scores[order], max(0, len(contours) - max_candidates))


def order_corners(boxes: Float32) -> Float32:
    """N x 4 x 2 corners in any order as top-left, top-right, bottom-right, bottom-left.

    Of the two leftmost the upper one is top-left, of the two rightmost the upper one top-right.
    """
    each = np.arange(len(boxes))[:, None]
    by_x = boxes[each, boxes[:, :, 0].argsort(axis=1, kind="stable")]
    lower_left, lower_right = (by_x[:, n, 1] > by_x[:, n + 1, 1] for n in (0, 2))  # the first of the pair is the lower
    left, right = lower_left.astype(int), 2 + lower_right
    ordered: Float32 = by_x[each, np.stack([left, right, 5 - right, 1 - left], axis=1)]
    return ordered


def reading_order(corners: Float32) -> npt.NDArray[np.intp]:
    """Indices of the boxes (N x 4 x 2 picture pixels) row by row from the top, a row from the left."""
    tops = corners[:, 0, 1]
    downwards = np.argsort(tops, kind="stable")
    rows = np.concatenate([np.zeros(1, int), np.cumsum(np.diff(tops[downwards]) >= SAME_LINE)])[: len(corners)]
    order: npt.NDArray[np.intp] = downwards[np.lexsort((corners[downwards, 0, 0], rows))]
    return order


def _plane(values: Array) -> Array:
    plane: Array = values[:, :, 0]
    return plane if plane.dtype.type in _AVERAGED else plane.astype(np.float32)


def _mask(plane: Array, threshold: float) -> UInt8:
    """1 where there is text, grown by one cell to the right and down (a 2 x 2 dilation)."""
    if np.issubdtype(plane.dtype, np.integer):
        threshold = math.floor(threshold)  # the same answer, without a copy of the map in floats
    mask = (plane > threshold).view(np.uint8)
    return np.asarray(cv2.dilate(mask, np.ones((2, 2), np.uint8)), np.uint8)


def _contours(mask: UInt8) -> list[Array]:
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return list(contours)


def _mean_inside(plane: Array, corners: Array) -> float:
    """Mean of the raw values inside the rectangle, read in its bounding window only."""
    xs, ys = corners.T.tolist()  # four numbers each: plain Python is faster than an array here
    (left, right), (top, bottom) = _within(xs, plane.shape[1]), _within(ys, plane.shape[0])
    mask = np.zeros((bottom - top + 1, right - left + 1), np.uint8)
    cv2.fillPoly(mask, [(corners - (left, top)).astype(np.int32)], [1.0])
    return float(cv2.mean(plane[top : bottom + 1, left : right + 1], mask)[0])


def _within(edges: list[float], length: int) -> tuple[int, int]:
    """The first and the last cell that the edges reach, of `length` cells."""
    low, high = math.floor(min(edges)), math.ceil(max(edges))
    return min(max(low, 0), length - 1), min(max(high, 0), length - 1)


def _in_picture(boxes: Float32, cells: tuple[int, ...], size: tuple[int, int]) -> Float32:
    """Boxes in cells of the map as ordered corners in whole pixels of the picture."""
    picture = np.array(size[::-1], np.float32)
    pixels = np.round(boxes * (picture / np.array(cells[::-1], np.float32)))
    ordered = order_corners(np.clip(pixels, 0, picture))
    return np.minimum(ordered, picture - 1)
