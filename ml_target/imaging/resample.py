"""Pictures made smaller with Pillow's antialiased filters, by libvips where it can.

The official worker, the models' own processors and the accuracy figures of the networks all rest on Pillow 12: filters
widened by the reduction, rows first, 8 bits in between. libvips is held to that: it sees a picture transposed and then
back, as it reduces columns best, and what Pillow does otherwise at the border is computed here. So values are at most
3 levels off, and more than one in less than 1 of 1000 of a photo, 2 of 1000 of a page. Where libvips cannot or would
be further off, Pillow itself resizes: enlarging, tiny pictures, long strips, hardly any or very strong reduction.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from ml_target.imaging import libvips
from ml_target.tensors import Float32, UInt8

Float64 = npt.NDArray[np.float64]

LONGEST = 100
"""Pillow 12.2 shrinks pictures that are more than this many times as high as wide downwards first."""

_MARGIN = 4
"""Pixels computed beyond a part that is kept: more than the filters' 3 to each side."""


class Filter(NamedTuple):
    """A filter under Pillow's and libvips' names.

    `reach`: how far from its middle it is not 0; `curve`: its values. `factors`: reductions at which libvips was
    measured to hold the tolerance. With smaller ones its 1/64 of a pixel show at the edges of letters, with larger
    ones the rest that it cuts off each weight.
    """

    pillow: Image.Resampling
    libvips: str
    reach: int
    curve: Callable[[Float64], Float64]
    factors: tuple[float, float]

    def fits(self, length: int, full: int) -> bool:
        return length == full or self.factors[0] <= length / full <= self.factors[1]


def _bicubic(x: Float64) -> Float64:
    """Keys' kernel with a = -0.5."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _lanczos(x: Float64) -> Float64:
    return np.where(np.abs(x) < 3.0, np.sinc(x) * np.sinc(x / 3.0), 0.0)


BICUBIC = Filter(Image.Resampling.BICUBIC, "cubic", 2, _bicubic, (1.75, 24.0))
LANCZOS = Filter(Image.Resampling.LANCZOS, "lanczos3", 3, _lanczos, (1.9, 3.9))


class _Axis(NamedTuple):
    """`length` pixels become `full`, of which the middle `keep` are wanted.

    `skip`: as many at either end are not computed, and for them `cut` source pixels not looked at.
    """

    length: int
    full: int
    keep: int
    skip: int
    cut: int

    @property
    def factor(self) -> float:
        return self.length / self.full

    @property
    def seen(self) -> slice:
        return slice(self.cut, self.length - self.cut)


def resample(picture: UInt8, height: int, width: int, filter: Filter, keep: tuple[int, int] | None = None) -> UInt8:
    """The picture, H x W x 3 uint8, as `height` x `width` x 3.

    `keep`: rows and columns of its middle that are wanted, all by default; the cut begins at half of what is left
    out, rounded down. Raises MemoryError.
    """
    high, wide = picture.shape[:2]
    rows, columns = keep or (height, width)
    if not (filter.fits(high, height) and filter.fits(wide, width)) or high > LONGEST * wide:
        whole = Image.fromarray(picture).resize((width, height), filter.pillow)
        left, top = (width - columns) // 2, (height - rows) // 2
        return np.asarray(whole.crop((left, top, left + columns, top + rows)))
    down, across = _axis(high, height, rows), _axis(wide, width, columns)
    picture = picture[down.seen, across.seen]
    if wide != width:
        picture = _transposed(_reduced(_transposed(picture), across, filter))
    elif columns != width:
        picture = picture[:, (width - columns) // 2 :][:, :columns]
    return _reduced(np.ascontiguousarray(picture), down, filter)


def _axis(length: int, full: int, keep: int) -> _Axis:
    factor = length / full
    # Whole pixels are cut, up to half of one too many or too few: above a factor of 2, libvips rounds that away.
    skip = max(0, (full - keep) // 2 - _MARGIN) if factor > 2 else 0
    return _Axis(length, full, keep, skip, round(skip * factor))


def _reduced(picture: UInt8, axis: _Axis, filter: Filter) -> UInt8:
    """The kept rows; `picture` is what the axis sees of them."""
    if axis.length != axis.full:
        source = picture
        picture = libvips.reduced(source, axis.factor, filter.libvips)
        if not axis.cut:
            _mend_border(picture, source, axis, filter)
    start = (axis.full - axis.keep) // 2 - axis.skip
    return picture[start : start + axis.keep]


def _transposed(picture: UInt8) -> UInt8:
    return np.asarray(cv2.transpose(picture), np.uint8)


def _mend_border(result: UInt8, source: UInt8, axis: _Axis, filter: Filter) -> None:
    """Computes the outermost rows anew: the filter ends at the border, and what is left of it counts as the whole."""
    count = min(filter.reach, axis.full)
    reads = min(axis.length, math.ceil((count + filter.reach) * axis.factor))
    centres = (np.arange(count) + 0.5)[:, None]
    weights = filter.curve((np.arange(reads) + 0.5) / axis.factor - centres)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    result[:count] = _weighted(weights, source[:reads])
    result[-count:] = _weighted(weights[::-1, ::-1], source[-reads:])


def _weighted(weights: Float32, rows: UInt8) -> UInt8:
    """Sums of rows, N x W x 3 uint8; `weights`: N x len(rows)."""
    sums = np.einsum("nm,mwc->nwc", weights, rows.astype(np.float32))
    levels: UInt8 = np.clip(sums + np.float32(0.5), 0, 255).astype(np.uint8)
    return levels
