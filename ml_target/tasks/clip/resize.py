"""Pictures for the CLIP family: brought to size x size with Pillow's antialiased bicubic filter."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_target.imaging.resample import LONGEST, REACH, bicubic, resample
from ml_target.tensors import UInt8

_FRACTION_BITS = 22
"""Pillow's 8-bit resampling: weights are whole numbers of 2^-22 (PRECISION_BITS in its Resample.c)."""


class Taps(NamedTuple):
    """The source pixels that make one pixel: the first of them, and the weight of each."""

    start: int
    weights: npt.NDArray[np.int64]


def squash(rgb: UInt8, size: int) -> UInt8:
    """The whole picture, H x W x 3 uint8, as size x size x 3; its aspect ratio is lost."""
    return resample(rgb, size, size)


def shortest_side_crop(rgb: UInt8, size: int) -> UInt8:
    """The middle of the picture, H x W x 3 uint8, as size x size x 3: shorter side to `size`, centre cut out.

    The arithmetic is Immich's: the longer side becomes ``int(ratio * size)`` and the cut starts
    at ``int(longer / 2 - size / 2)``.
    """
    height, width = rgb.shape[:2]
    if max(height, width) > LONGEST * min(height, width):
        return _crop_of_panorama(rgb, size)  # the whole would need memory without a bound
    new_width, new_height = _scaled(width, height, size)
    return resample(rgb, new_height, new_width, keep=(size, size))


def _scaled(width: int, height: int, size: int) -> tuple[int, int]:
    if width < height:
        return size, int((height / width) * size)
    return int((width / height) * size), size


def _start(length: int, size: int) -> int:
    return int(length / 2 - size / 2)


# ---------------------------------------------------------------- panoramas


def _crop_of_panorama(rgb: UInt8, size: int) -> UInt8:
    """The same numbers as Pillow's resize and crop, without the memory for what is cut away.

    A picture of 20000 x 20 would become 224000 x 224. Pillow's own `box` cannot be used: it is
    kept in 32-bit floats, which moves the grid by up to a thousandth of a pixel.
    """
    height, width = rgb.shape[:2]
    new_width, new_height = _scaled(width, height, size)
    columns = _taps(width, new_width, _start(new_width, size), size)
    rows = _taps(height, new_height, _start(new_height, size), size)
    if height > width and new_height < height:
        # Pillow 12.2, the official worker's, shrinks pictures this tall downwards first; 11 and 13 have another
        # limit. The order matters, as each pass rounds to 8 bits.
        return np.ascontiguousarray(_two_passes(rgb.transpose(1, 0, 2), rows, columns).transpose(1, 0, 2))
    return np.ascontiguousarray(_two_passes(rgb, columns, rows))


def _two_passes(picture: UInt8, first: list[Taps], second: list[Taps]) -> UInt8:
    """`first` along axis 1, then `second` along axis 0, on the part of the picture that `second` uses."""
    low, high = second[0].start, second[-1].start + len(second[-1].weights)
    once = _along_axis_1(picture[low:high], first)
    shifted = [Taps(taps.start - low, taps.weights) for taps in second]
    twice: UInt8 = _along_axis_1(once.transpose(1, 0, 2), shifted).transpose(1, 0, 2)
    return twice


def _along_axis_1(picture: UInt8, taps: list[Taps]) -> UInt8:
    """N x M x 3 to N x len(taps) x 3 uint8."""
    result = np.empty((picture.shape[0], len(taps), picture.shape[2]), np.uint8)
    half = np.int64(1 << (_FRACTION_BITS - 1))
    for place, (start, weights) in enumerate(taps):
        seen = picture[:, start : start + len(weights)]
        total = np.einsum("nmc,m->nc", seen, weights, dtype=np.int64) + half
        result[:, place] = np.clip(total >> _FRACTION_BITS, 0, 255)
    return result


def _taps(length: int, full: int, start: int, count: int) -> list[Taps]:
    """For pixels `start` to `start + count` of `length` pixels resized to `full`."""
    return [_tap(length, full, position) for position in range(start, start + count)]


def _tap(length: int, full: int, position: int) -> Taps:
    scale = length / full
    stretch = max(scale, 1.0)
    centre = (position + 0.5) * scale
    first = max(0, int(centre - REACH * stretch + 0.5))
    last = min(length, int(centre + REACH * stretch + 0.5))
    raw = bicubic((np.arange(first, last, dtype=np.float64) - centre + 0.5) * (1.0 / stretch)).tolist()
    total = 1.0 / sum(raw)
    # Rounds half away from zero, as Pillow does with C's cast to int.
    fixed = [math.trunc(math.copysign(0.5, w) + w * total * (1 << _FRACTION_BITS)) for w in raw]
    return Taps(first, np.array(fixed, np.int64))
