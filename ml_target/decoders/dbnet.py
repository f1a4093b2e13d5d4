"""Text detection: a map of probabilities to boxes around lines (DB, "differentiable binarization").

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
"""Cells: a shorter side below it is noise. After growing, two more are wanted."""
MIN_PIXELS = 4
"""Picture pixels: boxes with a shorter top or left edge are dropped."""
MAX_CANDIDATES = 1000
"""Contours looked at, in OpenCV's order."""
SAME_LINE = 10
"""Picture pixels: boxes whose tops follow each other in smaller steps stand in one row."""

_MEANT = (np.uint8, np.uint16, np.float32)  # what OpenCV can average; everything else becomes float32


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes in reading order.

    `corners`: N x 4 x 2 float32, whole picture pixels, top-left, top-right, bottom-right, bottom-left;
    `scores`: N float32; `unseen`: contours that were too many to be looked at.
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
    corners = _in_picture(np.stack(found), plane.shape, size)
    big = np.linalg.norm(corners[:, [1, 3]] - corners[:, :1], axis=2).min(axis=1) >= MIN_PIXELS
    corners, kept_scores = corners[big], np.asarray(scores, np.float32)[big]
    order = reading_order(corners)
    return Boxes(corners[order], kept_scores[order], max(0, len(contours) - max_candidates))


def order_corners(boxes: Float32) -> Float32:
    """N x 4 x 2 corners in any order as top-left, top-right, bottom-right, bottom-left.

    Of the two leftmost the upper one is top-left, of the two rightmost the upper one top-right.
    """
    by_x = np.take_along_axis(boxes, np.argsort(boxes[:, :, :1], axis=1, kind="stable"), axis=1)
    left, right = (
        np.take_along_axis(pair, np.argsort(pair[:, :, 1:], axis=1, kind="stable"), axis=1)
        for pair in (by_x[:, :2], by_x[:, 2:])
    )
    return np.stack([left[:, 0], right[:, 0], right[:, 1], left[:, 1]], axis=1)


def reading_order(corners: Float32) -> npt.NDArray[np.intp]:
    """Indices of the boxes (N x 4 x 2 picture pixels) row by row from the top, a row from the left."""
    tops = corners[:, 0, 1]
    downwards = np.argsort(tops, kind="stable")
    rows = np.concatenate([np.zeros(1, int), np.cumsum(np.diff(tops[downwards]) >= SAME_LINE)])[: len(corners)]
    order: npt.NDArray[np.intp] = downwards[np.lexsort((corners[downwards, 0, 0], rows))]
    return order


def _plane(values: Array) -> Array:
    plane: Array = values[:, :, 0]
    return plane if plane.dtype.type in _MEANT else plane.astype(np.float32)


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
    """Mean of the raw values inside the rectangle, looked at in its bounding window only."""
    limit = np.array(plane.shape[::-1]) - 1
    low = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, limit)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int), 0, limit)
    mask = np.zeros((high - low + 1)[::-1].tolist(), np.uint8)
    cv2.fillPoly(mask, [(corners - low).astype(np.int32)], [1.0])
    return float(cv2.mean(plane[low[1] : high[1] + 1, low[0] : high[0] + 1], mask)[0])


def _in_picture(boxes: Float32, cells: tuple[int, ...], size: tuple[int, int]) -> Float32:
    """Boxes in cells of the map as ordered corners in whole pixels of the picture."""
    picture = np.array(size[::-1], np.float32)
    pixels = np.round(boxes * (picture / np.array(cells[::-1], np.float32)))
    ordered = order_corners(np.clip(pixels, 0, picture))
    return np.minimum(ordered, picture - 1)
