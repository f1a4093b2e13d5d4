"""The pictures that the text networks look at: the whole one to find lines, then every line upright.

Pillow does what the official worker does with Pillow (Lanczos, perspective with its bicubic), OpenCV
what it does with OpenCV (bilinear to the height of a line), so that the networks see the same pixels.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from ml_target.catalogue.types import Colour
from ml_target.tensors import Float32, UInt8

DETECTION_MULTIPLE = 32
"""The detector halves its frame five times."""

MAX_DETECTION_PIXELS = 6_500_000
"""Largest free detection frame. ONNX Runtime needs about 150 MB a megapixel, so this is 1 GB.

At Immich's default of 736 it bounds pictures longer than sixteen times their width, and with
`maxResolution` at the full 2160 of the largest previews it still takes 2160 x 2880.
"""

PADDING = 128
"""Right of a line: 0 after `(x - 127.5) / 127.5`, as near as a byte gets; PaddleOCR pads with 0 there."""

UPRIGHT_BELOW = 1.5
"""A crop this many times higher than wide, or more, is text that runs downwards: it is turned."""

_COARSE = 3  # a first reduction to this many times the target cannot be told from one step (Pillow's `reducing_gap`)
_TAPS = 3  # bicubic looks at two pixels around a point, one more for rounding


@dataclass(frozen=True, slots=True, eq=False)
class DetectionFrame:
    """What the detector gets.

    `pixels`: H x W x 3 uint8 in the network's colour order; `content`: the height and width that the
    picture fills from the top-left corner, the rest is black; `bounded`: True when memory, not
    `max_resolution`, decided the scale.
    """

    pixels: UInt8
    content: tuple[int, int]
    bounded: bool = False


# ---------------------------------------------------------------- detection


def free_frame(picture: UInt8, max_resolution: int, colour: Colour) -> DetectionFrame:
    """The picture at the official worker's size, for a detector that takes any.

    `picture`: H x W x 3 uint8 RGB. The shorter side becomes `max_resolution` pixels but is never
    enlarged, then both are rounded to multiples of 32; Lanczos.
    """
    height, width, bounded = detection_size(picture.shape[0], picture.shape[1], max_resolution)
    return DetectionFrame(_in_colour(_lanczos(picture, height, width), colour), (height, width), bounded)


def fixed_frame(picture: UInt8, height: int, width: int, max_resolution: int, colour: Colour) -> DetectionFrame:
    """The picture in the top-left corner of a `height` x `width` frame, for a detector of one size.

    `picture`: H x W x 3 uint8 RGB. Its scale is the largest that fits, at most the official one.
    """
    high, wide = picture.shape[:2]
    scale = min(_official_scale(high, wide, max_resolution), height / high, width / wide)
    content = max(1, min(height, round(high * scale))), max(1, min(width, round(wide * scale)))
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: content[0], : content[1]] = _in_colour(_lanczos(picture, *content), colour)
    return DetectionFrame(pixels, content)


def detection_size(height: int, width: int, max_resolution: int) -> tuple[int, int, bool]:
    """Height and width of the free detection frame, and whether `MAX_DETECTION_PIXELS` lowered them."""
    scale = _official_scale(height, width, max_resolution)
    bounded = False
    while True:
        high, wide = (_to_multiple(int(side * scale)) for side in (height, width))
        if high * wide <= MAX_DETECTION_PIXELS:
            return high, wide, bounded
        bounded = True
        # The extra thousandth gets past sizes that round back up.
        scale *= 0.999 * math.sqrt(MAX_DETECTION_PIXELS / (high * wide))


def _official_scale(height: int, width: int, max_resolution: int) -> float:
    return min(1.0, max_resolution / min(height, width))


def _to_multiple(side: int) -> int:
    return max(DETECTION_MULTIPLE, round(side / DETECTION_MULTIPLE) * DETECTION_MULTIPLE)


def _lanczos(picture: UInt8, height: int, width: int) -> UInt8:
    """Resized with Pillow. Pictures far above the target are first averaged down: Pillow holds a copy of its own."""
    high, wide = picture.shape[:2]
    coarse = tuple(_COARSE * new if old >= 2 * _COARSE * new else old for old, new in ((high, height), (wide, width)))
    if coarse != (high, wide):
        picture = np.asarray(cv2.resize(picture, coarse[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def _in_colour(rgb: UInt8, colour: Colour) -> UInt8:
    return np.ascontiguousarray(rgb[..., ::-1]) if colour == "BGR" else rgb


# -------------------------------------------------------------------- lines


def crop_size(corners: Float32) -> tuple[int, int]:
    """Width and height of the crop of a quadrilateral, whole pixels: the longer of opposite sides, cut off.

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
    least 1.5 times higher than wide is turned by 90 degrees counter-clockwise. Bilinear without
    antialiasing, as the reference scales lines.
    """
    crop = cut(picture, corners)
    if _runs_down(crop.shape[1], crop.shape[0]):
        crop = np.ascontiguousarray(np.rot90(crop))
    line = np.asarray(cv2.resize(crop, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return _in_colour(line, colour)


def cut(picture: UInt8, corners: Float32) -> UInt8:
    """The quadrilateral as a rectangle of `crop_size`, in the picture's colour order.

    Pillow's perspective transform and bicubic filter, on the part of the picture that it looks at.
    """
    width, height = crop_size(corners)
    left, top = (int(n) for n in corners[0])
    if np.array_equal(corners, [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]):
        return np.ascontiguousarray(picture[top : top + height, left : left + width])  # the transform would copy, too
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


def pad_right(line: UInt8, width: int) -> UInt8:
    """The line, H x W x 3, in a frame of `width` columns; the rest is mid-grey."""
    if line.shape[1] == width:
        return np.ascontiguousarray(line)
    frame = np.full((line.shape[0], width, 3), PADDING, np.uint8)
    frame[:, : line.shape[1]] = line
    return frame


def _runs_down(width: int, height: int) -> bool:
    return height / width >= UPRIGHT_BELOW
