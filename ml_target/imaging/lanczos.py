"""Pillow's antialiased Lanczos filter as products of small matrices, in less than half of Pillow's time.

Every row of the result is a weighted sum of some rows of the picture, so a few rows of it are a small matrix of weights
times the rows that they read; numpy's BLAS multiplies that quickly. Weights are rounded as Pillow 12.2 rounds them,
columns go first, and 8 bits stand in between: sums differ in their last digits alone, which moves a few values of a
million by one level. That matters for text: where a cell of the detector's map is at the threshold, a level more or
less moves the edge of a box by a cell, and with it the score by up to a tenth (libvips' filter does: its weights have
12 bits).
"""

import math
from collections.abc import Iterator
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

_ZERO = np.zeros((1, 1))


class _Block(NamedTuple):
    """Rows `start` to `stop` of the result are `weights` times rows `first` to `last` of the picture."""

    start: int
    stop: int
    first: int
    last: int
    weights: Float32


def resized(picture: UInt8, height: int, width: int) -> UInt8:
    """The picture, H x W x 3 uint8, as `height` x `width` x 3."""
    high, wide = picture.shape[:2]
    if high > LONGEST * wide and height < high:
        return _across(_down(picture, height), width)
    return _down(_across(picture, width), height)


def _across(picture: UInt8, width: int) -> UInt8:
    return picture if picture.shape[1] == width else _transposed(_down(_transposed(picture), width))


def _transposed(picture: UInt8) -> UInt8:
    return np.asarray(cv2.transpose(picture), np.uint8)


def _down(picture: UInt8, height: int) -> UInt8:
    """The picture with `height` rows."""
    high, wide = picture.shape[:2]
    if high == height:
        return picture
    rows = picture.reshape(high, -1)
    result = np.empty((height, rows.shape[1]), np.uint8)
    blocks = list(_blocks(high, height))
    most, columns = max(block.last - block.first for block in blocks), min(_COLUMNS, rows.shape[1])
    read, sums = np.empty((most, columns), np.float32), np.empty((_ROWS, columns), np.float32)
    for left in range(0, rows.shape[1], columns):
        part = slice(left, min(left + columns, rows.shape[1]))
        count = part.stop - left
        for start, stop, first, last, weights in blocks:
            values, out = read[: last - first, :count], sums[: stop - start, :count]
            np.copyto(values, rows[first:last, part])
            np.matmul(weights, values, out=out)
            cv2.add(out, _ZERO, result[start:stop, part], dtype=cv2.CV_8U)  # rounds, and stays within 0..255
    return result.reshape(height, wide, 3)


def _blocks(length: int, full: int) -> Iterator[_Block]:
    """The weights that make `full` rows of `length`, by blocks from the top."""
    for start in range(0, full, _ROWS * _BLOCKS):
        yield from _some(length, full, start, min(start + _ROWS * _BLOCKS, full))


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
