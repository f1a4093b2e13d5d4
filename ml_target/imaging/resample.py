"""Pictures made smaller with Pillow's antialiased bicubic filter, by libvips where it can.

The official worker, the models' own processors and the accuracy figures of the networks all rest on Pillow 12: a filter
widened by the reduction, rows first, 8 bits in between. libvips is held to that: it sees a picture transposed and then
back, as it reduces columns best, and what Pillow does otherwise at the border is computed here. So values are at most
3 levels off, and more than one in less than 1 of 1000 of a photo. Where libvips cannot or would be further off, Pillow
itself resizes: enlarging, tiny pictures, long strips, hardly any or very strong reduction. Pages for text
have `lanczos.py`: there a level more or less moves scores.
"""

import math
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
"""Pixels computed beyond a part that is kept: more than the filter's 2 to each side."""

REACH = 2
"""How far from its middle the filter is not 0."""

_FACTORS = (1.75, 24.0)
"""Reductions at which libvips was measured to hold the tolerance. With smaller ones its 1/64 of a pixel show at the
edges of letters, with larger ones the rest that it cuts off each weight."""


def _fits(length: int, full: int) -> bool:
    return length == full or _FACTORS[0] <= length / full <= _FACTORS[1]


def bicubic(x: Float64) -> Float64:
    """Keys' kernel with a = -0.5."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1.0, ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


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


def resample(picture: UInt8, height: int, width: int, keep: tuple[int, int] | None = None) -> UInt8:
    """The picture, H x W x 3 uint8, as `height` x `width` x 3.

    `keep`: rows and columns of its middle that are wanted, all by default; the cut begins at half of what is left
    out, rounded down. Raises MemoryError.
    """
    high, wide = picture.shape[:2]
    rows, columns = keep or (height, width)
    if not (_fits(high, height) and _fits(wide, width)) or high > LONGEST * wide:
        whole = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - columns) // 2, (height - rows) // 2
        return np.asarray(whole.crop((left, top, left + columns, top + rows)))
    down, across = _axis(high, height, rows), _axis(wide, width, columns)
    picture = picture[down.seen, across.seen]
    if wide != width:
        picture = _transposed(_reduced(_transposed(picture), across))
    elif columns != width:
        picture = picture[:, (width - columns) // 2 :][:, :columns]
    return _reduced(np.ascontiguousarray(picture), down)


def _axis(length: int, full: int, keep: int) -> _Axis:
    factor = length / full
    # Whole pixels are cut, up to half of one too many or too few: above a factor of 2, libvips rounds that away.
    skip = max(0, (full - keep) // 2 - _MARGIN) if factor > 2 else 0
    return _Axis(length, full, keep, skip, round(skip * factor))


def _reduced(picture: UInt8, axis: _Axis) -> UInt8:
    """The kept rows; `picture` is what the axis sees of them."""
    if axis.length != axis.full:
        source = picture
        picture = libvips.reduced(source, axis.factor, "cubic")
        if not axis.cut:
            _mend_border(picture, source, axis)
    start = (axis.full - axis.keep) // 2 - axis.skip
    return picture[start : start + axis.keep]


def _transposed(picture: UInt8) -> UInt8:
    return np.asarray(cv2.transpose(picture), np.uint8)


def _mend_border(result: UInt8, source: UInt8, axis: _Axis) -> None:
    """Computes the outermost rows anew: the filter ends at the border, and what is left of it counts as the whole."""
    count = min(REACH, axis.full)
    reads = min(axis.length, math.ceil((count + REACH) * axis.factor))
    centres = (np.arange(count) + 0.5)[:, None]
    weights = bicubic((np.arange(reads) + 0.5) / axis.factor - centres)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    result[:count] = _weighted(weights, source[:reads])
    result[-count:] = _weighted(weights[::-1, ::-1], source[-reads:])


def _weighted(weights: Float32, rows: UInt8) -> UInt8:
    """Sums of rows, N x W x 3 uint8; `weights`: N x len(rows)."""
    sums = np.einsum("nm,mwc->nwc", weights, rows.astype(np.float32))
    levels: UInt8 = np.clip(sums + np.float32(0.5), 0, 255).astype(np.uint8)
    return levels
