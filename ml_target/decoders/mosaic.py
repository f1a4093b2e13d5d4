"""One map out of the maps of overlapping tiles, as if the network had seen the whole picture.

The maps are merged, not the boxes found in them: a line across a border is one line with one score.
"""

from collections.abc import Sequence

import numpy as np

from ml_target.tensors import Array, Tensor

RIM = 16
"""Cells at an inner border that do not count: the network sees half a letter there. The neighbour sees all of it."""


def merge(maps: Sequence[Tensor], starts: Sequence[tuple[int, int]], size: tuple[int, int]) -> Tensor:
    """H x W x 1 for `size` (H, W): the highest value that any tile has for a cell, as it left the engine.

    `maps`: one h x w x 1 tensor a tile, all of one scale and zero point; `starts`: top and left of each in the
    whole. What lies beyond `size` is left out.
    """
    first = maps[0]
    if len(maps) == 1:
        return Tensor(first.values[: size[0], : size[1]], first.scale, first.zero_point)
    low = np.iinfo(first.values.dtype).min if first.values.dtype.kind in "ui" else first.raw(0.0)
    whole: Array = np.full((*size, 1), low, first.values.dtype)
    tops, lefts = ({start[axis] for start in starts} for axis in (0, 1))
    for tensor, (top, left) in zip(maps, starts, strict=True):
        rows = _kept(top, tensor.values.shape[0], size[0], tops)
        columns = _kept(left, tensor.values.shape[1], size[1], lefts)
        part = whole[rows, columns]
        seen = tensor.values[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        np.maximum(part, seen, out=part)
    return Tensor(whole, first.scale, first.zero_point)


def _kept(start: int, length: int, whole: int, starts: set[int]) -> slice:
    """The cells of the whole that this tile speaks for, along one axis."""
    stop = min(start + length, whole)
    return slice(start + RIM * (start > min(starts)), stop - RIM * (start < max(starts)))
