"""Cuts lines of text out of a picture, upright, for the recogniser.

Pillow does what the official worker does with Pillow (perspective with its bicubic), OpenCV what it does
with OpenCV (bilinear to the height of a line), so that the network sees the same pixels.
"""

import math
from itertools import pairwise

import cv2
import numpy as np
from PIL import Image

from ml_target.catalogue.types import Colour
from ml_target.tensors import Float32, UInt8

PADDING = 128
"""Fills the frame right of a line: 0 after `(x - 127.5) / 127.5`, as near as a byte gets, as in PaddleOCR."""

UPRIGHT_BELOW = 1.5
"""A crop at least this many times as high as wide holds text that runs downwards: it is turned."""

_TAPS = 3  # bicubic reads two pixels around a point, and one more for rounding

_NEARLY = 1e-4
"""Pillow cuts the fraction off: a sum that is a whole number but for the last digits of its terms must stay it."""

_AT_A_TIME = 32_768
"""Pixels of a crop that are floats at a time: a line may be as large as the picture."""


def crop_size(corners: Float32) -> tuple[int, int]:
    """Width and height of the crop of a quadrilateral, whole pixels: the longer of opposite sides, truncated.

    `corners`: 4 x 2 in pixels: top-left, top-right, bottom-right, bottom-left.
    """
    top, right, bottom, left = np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1).tolist()
    return max(1, int(max(top, bottom))), max(1, int(max(left, right)))


def line_width(corners: Float32, height: int) -> int:
    """The width of the line when it is turned upright and scaled to `height`."""
    wide, high = crop_size(corners)
    if _runs_down(wide, high):
        wide, high = high, wide
    return math.ceil(height * (wide / high))


def cut_line(picture: UInt8, corners: Float32, height: int, width: int, colour: Colour) -> UInt8:
    """The line upright, `height` x `width` x 3 uint8 in the network's colour order.

    `picture`: H x W x 3 uint8 RGB; `corners` as for `crop_size`, inside the picture. A crop that is at
    least 1.5 times as high as wide is turned by 90 degrees counter-clockwise. Bilinear without
    antialiasing, as the reference scales lines.
    """
    crop = cut(picture, corners)
    if _runs_down(crop.shape[1], crop.shape[0]):
        crop = np.asarray(cv2.rotate(crop, cv2.ROTATE_90_COUNTERCLOCKWISE), np.uint8)
    line = cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(line, cv2.COLOR_RGB2BGR) if colour == "BGR" else line, np.uint8)


def cut(picture: UInt8, corners: Float32) -> UInt8:
    """The quadrilateral as a rectangle of `crop_size`, in the picture's colour order.

    Pillow's perspective transform and bicubic filter, on the part of the picture that it reads. An upright one is a
    view of the picture; where only the top and the bottom rise alike, as with many lines, columns are slid.
    """
    width, height = crop_size(corners)
    left, top = (int(n) for n in corners[0])
    if np.array_equal(corners, [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]):
        return picture[top : top + height, left : left + width]
    if _rises(corners, width, height) and (slid := _slid(picture, corners, width, height)) is not None:
        return slid
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - _TAPS, 0)
    high = np.ceil(corners.max(axis=0)).astype(int) + _TAPS + 1
    window = picture[low[1] : high[1], low[0] : high[0]]
    upright = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(upright, np.asarray(corners - low, np.float32))
    coefficients = (matrix / matrix[2, 2]).reshape(-1)[:8].tolist() if matrix[2, 2] else [0.0] * 8
    warped = Image.fromarray(window).transform(
        (width, height), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC
    )
    return np.asarray(warped)


def _rises(corners: Float32, width: int, height: int) -> bool:
    """Whether it is `height` x `width` upright but for a top and a bottom that rise or fall alike."""
    upright = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32) + corners[0]
    upright[1:3, 1] += corners[1, 1] - corners[0, 1]
    return np.array_equal(corners, upright)


def _slid(picture: UInt8, corners: Float32, width: int, height: int) -> UInt8 | None:
    """Such a crop, by Pillow's bicubic filter down each column; None where that reads beyond the picture's rim."""
    left, top = (int(n) for n in corners[0])
    depths = (np.arange(width) + 0.5) * (float(corners[1, 1] - corners[0, 1]) / width)
    whole = np.floor(depths).astype(int)
    if top + int(whole.min()) < 1 or top + int(whole.max()) + height + 2 > picture.shape[0]:
        return None
    d = depths - whole
    weights = np.stack([-d * (1 - d) ** 2, (1 - d) * (1 + d - d * d), d * (1 + d - d * d), -d * d * (1 - d)])
    weights = np.repeat(weights, 3, axis=1).astype(np.float32)
    result = np.empty((height, width * 3), np.uint8)
    ends = [0, *(np.flatnonzero(np.diff(whole)) + 1).tolist(), width]
    for start, stop in pairwise(ends):  # columns that read the same rows
        part, first = slice(3 * start, 3 * stop), top + int(whole[start]) - 1
        for begin in range(0, height, step := max(1, _AT_A_TIME // (stop - start))):
            high = min(step, height - begin)
            read = picture[first + begin : first + begin + high + 3, left + start : left + stop]
            rows = read.astype(np.float32).reshape(high + 3, -1)
            sums = rows[:high] * weights[0, part]
            for n in (1, 2, 3):
                sums += rows[n : n + high] * weights[n, part]
            sums += _NEARLY
            result[begin : begin + high, part] = np.clip(sums, 0, 255, out=sums)
    return result.reshape(height, width, 3)


def pad_right(line: UInt8, width: int) -> UInt8:
    """The line, H x W x 3, in a frame of `width` columns; the rest is mid-grey."""
    if line.shape[1] == width:
        return np.ascontiguousarray(line)
    frame = np.full((line.shape[0], width, 3), PADDING, np.uint8)
    frame[:, : line.shape[1]] = line
    return frame


def _runs_down(width: int, height: int) -> bool:
    return height / width >= UPRIGHT_BELOW
