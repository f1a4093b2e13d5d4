"""Pictures made smaller with Pillow's antialiased bicubic filter, by libvips where it can.

The official worker, the models' own processors and the accuracy figures of the networks all rest on Pillow 12: a filter
widened by the reduction, rows first, 8 bits in between. libvips is held to that: it sees a picture transposed and then
back, as it is quicker in height, and what Pillow does otherwise at the border is computed here. So values are at most
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

FILTER = "cubic"
"""The filter, as libvips calls it."""

STRIP, ALIGNED = 2**20, 32
"""Bytes of a picture that are transposed at a time, about: few enough to stay in the processor's cache, and enough for
few strips, as each is a turn at Python's lock. And of what number their rows are multiples: of others libvips reads
every second piece from two lines of the cache."""


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

    @property
    def made(self) -> slice:
        """What is computed of all that becomes of `seen`."""
        start = (self.full - self.keep) // 2 - self.skip
        return slice(start, start + self.keep) if self.cut else slice(0, self.full)

    @property
    def kept(self) -> slice:
        """What is wanted of all, where nothing is cut."""
        start = (self.full - self.keep) // 2
        return slice(start, start + self.keep)


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
    return _lowered(_narrowed(picture[down.seen, across.seen], across), down)


def _axis(length: int, full: int, keep: int) -> _Axis:
    factor = length / full
    # Whole pixels are cut, up to half of one too many or too few: above a factor of 2, libvips rounds that away.
    skip = max(0, (full - keep) // 2 - _MARGIN) if factor > 2 else 0
    return _Axis(length, full, keep, skip, round(skip * factor))


def _narrowed(picture: UInt8, axis: _Axis) -> UInt8:
    """The kept columns; `picture` is what the axis sees of them.

    Some rows at a time, so that what is transposed stays in the processor's cache.
    """
    high, wide, _ = picture.shape
    if axis.length == axis.full:
        return picture[:, axis.kept]
    values = picture.reshape(high, -1)  # neither libvips nor the transposing need know that three make a pixel
    strips = math.ceil(values.size / STRIP)
    count = min(high, math.ceil(high / strips / ALIGNED) * ALIGNED)
    standing = np.empty((3 * wide, count), np.uint8)
    reduction = libvips.Reduction(standing.reshape(wide, -1), axis.factor, FILTER)
    narrow = np.empty((high, axis.made.stop - axis.made.start, 3), np.uint8)
    for top in range(0, high, count):
        strip = slice(min(top, high - count), min(top + count, high))
        cv2.transpose(values[strip], standing)
        cv2.transpose(reduction.part(axis.made).reshape(-1, count), narrow.reshape(high, -1)[strip])
    if axis.cut:
        return narrow
    _mend_border(narrow.swapaxes(0, 1), picture.swapaxes(0, 1), axis)
    return narrow[:, axis.kept]


def _lowered(picture: UInt8, axis: _Axis) -> UInt8:
    """The kept rows; `picture` is what the axis sees of them."""
    if axis.length == axis.full:
        return picture[axis.kept]
    picture = np.ascontiguousarray(picture)
    low = libvips.Reduction(picture.reshape(len(picture), -1), axis.factor, FILTER).part(axis.made)
    low = low.reshape(len(low), -1, 3)
    if axis.cut:
        return low
    _mend_border(low, picture, axis)
    return low[axis.kept]


def _mend_border(result: UInt8, source: UInt8, axis: _Axis) -> None:
    """Computes the outermost rows again: the filter ends at the border, and what is left of it counts as the whole."""
    count = min(REACH, axis.full)
    reads = min(axis.length, math.ceil((count + REACH) * axis.factor))
    centres = (np.arange(count) + 0.5)[:, None]
    exact = bicubic((np.arange(reads) + 0.5) / axis.factor - centres)
    weights = (exact / exact.sum(axis=1, keepdims=True)).astype(np.float32)
    result[:count] = _weighted(weights, source[:reads])
    result[-count:] = _weighted(weights[::-1, ::-1], source[-reads:])


def _weighted(weights: Float32, rows: UInt8) -> UInt8:
    """Sums of rows, N x W x 3 uint8; `weights`: N x len(rows)."""
    sums = np.einsum("nm,mwc->nwc", weights, np.ascontiguousarray(rows, np.float32))
    levels: UInt8 = np.clip(sums + np.float32(0.5), 0, 255).astype(np.uint8)
    return levels
