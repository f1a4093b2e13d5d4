"""Pillow's antialiased Lanczos filter as products of small matrices, in less than half of Pillow's time.

Every row of the result is a weighted sum of some rows of the picture, so a few rows of it are a small matrix of weights
times the rows that they read; numpy's BLAS multiplies that quickly. Weights are rounded as Pillow 12.2 rounds them,
columns go first, and 8 bits stand in between: sums differ in their last digits alone, which moves a few values of a
million by one level. That matters for text: where a cell of the detector's map is at the threshold, a level more or
less moves the edge of a box by a cell, and with it the score by up to a tenth (libvips' filter does: its weights have
12 bits).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ml_target.imaging.resample import LONGEST
from ml_target.tensors import Float32, UInt8

REACH = 3
"""How far from its middle the filter is not 0."""

_FRACTION_BITS = 22  # of Pillow's weights
_ROWS = 12
"""Rows of the result computed at a time: more would multiply by more zeros, fewer keep BLAS waiting for rows."""

_BLOCKS = 128
"""Blocks whose weights are worked out together: all of most pictures, some of a long strip."""

_COLUMNS = 24_576
"""Values of a row taken at a time: bounds the memory for long strips; shorter pieces are slower."""

_SIZES, _LONGEST_KEPT = 8, 16_384
"""Lengths whose weights are kept, as photos of one camera have one size, and how long they may be. Weights take some
70 bytes a pixel of the longer one: 9 MB in all, where those of one long strip may take 80."""

_ZERO = np.zeros((1, 1))


class _Block(NamedTuple):
    """Rows `start` to `stop` of the result are `weights` times rows `first` to `last` of the picture."""

    start: int
    stop: int
    first: int
    last: int
    weights: Float32


Together = Callable[[Sequence[Callable[[], object]]], None]
"""Makes calls that do not depend on each other, in any order or at the same time."""


def in_turn(calls: Sequence[Callable[[], object]]) -> None:
    """Makes the calls one after the other."""
    for call in calls:
        call()


def resized(picture: UInt8, height: int, width: int, together: Together = in_turn) -> UInt8:
    """The picture, H x W x 3 uint8, as `height` x `width` x 3.

    `together`: makes the calls that do a half each. Whoever does them, BLAS multiplies the same matrices: its last
    digits depend on their widths.
    """
    high, wide = picture.shape[:2]
    if high > LONGEST * wide and height < high:
        return _across(_down(picture, height, together), width, together)
    return _down(_across(picture, width, together), height, together)


def _across(picture: UInt8, width: int, together: Together) -> UInt8:
    """The picture with `width` columns."""
    high, wide = picture.shape[:2]
    if wide == width:
        return picture
    result = np.empty((high, width, 3), np.uint8)

    def some(blocks: Sequence[_Block]) -> None:
        begin, end, first, last = blocks[0].start, blocks[-1].stop, blocks[0].first, blocks[-1].last
        columns = np.asarray(cv2.transpose(picture[:, first:last]), np.uint8).reshape(last - first, -1)
        reduced = np.empty((end - begin, 3 * high), np.uint8)
        _multiply(blocks, columns, reduced)
        cv2.transpose(reduced.reshape(end - begin, high, 3), result[:, begin:end])

    together([partial(some, half) for half in _halves(_blocks(wide, width))])
    return result


def _down(picture: UInt8, height: int, together: Together) -> UInt8:
    """The picture with `height` rows."""
    high, wide = picture.shape[:2]
    if high == height:
        return picture
    rows, result = picture.reshape(high, -1), np.empty((height, 3 * wide), np.uint8)

    def some(blocks: Sequence[_Block]) -> None:
        _multiply(blocks, rows[blocks[0].first : blocks[-1].last], result[blocks[0].start : blocks[-1].stop])

    together([partial(some, half) for half in _halves(_blocks(high, height))])
    return result.reshape(height, wide, 3)


def _halves(blocks: Sequence[_Block]) -> list[Sequence[_Block]]:
    middle = len(blocks) // 2
    return [half for half in (blocks[:middle], blocks[middle:]) if half]


def _multiply(blocks: Sequence[_Block], rows: UInt8, result: UInt8) -> None:
    """Fills the rows of the result that the blocks make; `rows`: those that they read."""
    top, begin = blocks[0].first, blocks[0].start
    most, columns = max(block.last - block.first for block in blocks), min(_COLUMNS, rows.shape[1])
    read, sums = np.empty((most, columns), np.float32), np.empty((_ROWS, columns), np.float32)
    for left in range(0, rows.shape[1], columns):
        part = slice(left, min(left + columns, rows.shape[1]))
        count = part.stop - left
        for start, stop, first, last, weights in blocks:
            values, out = read[: last - first, :count], sums[: stop - start, :count]
            np.copyto(values, rows[first - top : last - top, part])
            np.matmul(weights, values, out=out)
            made = result[start - begin : stop - begin, part]
            cv2.add(out, _ZERO, made, dtype=cv2.CV_8U)  # rounds, and stays within 0..255


def _blocks(length: int, full: int) -> Sequence[_Block]:
    """The weights that make `full` rows of `length`, by blocks from the top."""
    return (_kept_blocks if max(length, full) <= _LONGEST_KEPT else _new_blocks)(length, full)


def _new_blocks(length: int, full: int) -> Sequence[_Block]:
    step = _ROWS * _BLOCKS
    return [block for start in range(0, full, step) for block in _some(length, full, start, min(start + step, full))]


_kept_blocks = lru_cache(maxsize=_SIZES)(_new_blocks)


def _some(length: int, full: int, begin: int, end: int) -> Iterator[_Block]:
    """The blocks of rows `begin` to `end`."""
    scale = length / full
    stretch = max(1.0, scale)
    centres = (np.arange(begin, end) + 0.5) * scale
    firsts = np.maximum(0, (centres - REACH * stretch + 0.5).astype(int))
    lasts = np.minimum(length, (centres + REACH * stretch + 0.5).astype(int))
    places = firsts[:, None] + np.arange(math.ceil(2 * REACH * stretch) + 1)
    raw = np.where(places < lasts[:, None], _lanczos((places - centres[:, None] + 0.5) / stretch), 0.0)
    exact = raw / raw.sum(axis=1, keepdims=True) * (1 << _FRACTION_BITS)
    weights = (np.trunc(exact + np.copysign(0.5, exact)) / (1 << _FRACTION_BITS)).astype(np.float32)
    for start in range(0, end - begin, _ROWS):
        stop = min(start + _ROWS, end - begin)
        first, last = int(firsts[start]), int(lasts[stop - 1])
        band = np.zeros((stop - start, last - first + places.shape[1]), np.float32)
        band[np.arange(stop - start)[:, None], places[start:stop] - first] = weights[start:stop]
        yield _Block(begin + start, begin + stop, first, last, np.ascontiguousarray(band[:, : last - first]))


def _lanczos(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(np.abs(x) < REACH, np.sinc(x) * np.sinc(x / REACH), 0.0)
