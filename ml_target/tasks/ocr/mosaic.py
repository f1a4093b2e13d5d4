"""One map out of the maps of overlapping tiles, as if the network had seen the whole picture.

The maps are merged, not the boxes found in them: a line across a border is one line with one score.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ml_target.tensors import Array, Tensor

MEET = 16
"""Cells to each side of the middle of an overlap where both tiles count. Beyond, only the tile that reaches farther:
at the rim of a tile the network sees half a letter, and taking the higher value everywhere would find too much."""


def merge(maps: Sequence[Tensor], starts: Sequence[tuple[int, int]], size: tuple[int, int]) -> Tensor:
    """H x W x 1 for `size` (H, W), as it left the engine; where two tiles count, the higher value.

    `maps`: one h x w x 1 tensor per tile, all of one scale and zero point; `starts`: top and left of each in the
    whole, a grid whose neighbours share at least 2 x `MEET`. What lies beyond `size` is left out.
    """
    first = maps[0]
    if len(maps) == 1:
        return Tensor(first.values[: size[0], : size[1]], first.scale, first.zero_point)
    low = np.iinfo(first.values.dtype).min if first.values.dtype.kind in "ui" else first.raw(0.0)
    whole: Array = np.full((*size, 1), low, first.values.dtype)
    rows, columns = (
        _kept(sorted({start[axis] for start in starts}), first.values.shape[axis], size[axis]) for axis in (0, 1)
    )
    for tensor, (top, left) in zip(maps, starts, strict=True):
        (a, b), (c, d) = rows[top], columns[left]
        part = whole[a:b, c:d]
        np.maximum(part, tensor.values[a - top : b - top, c - left : d - left], out=part)
    return Tensor(whole, first.scale, first.zero_point)


def _kept(starts: Sequence[int], length: int, whole: int) -> dict[int, tuple[int, int]]:
    """By the start of each tile along one axis: the first cell of the whole that it counts for, and where these end."""
    middles = [(start + length + following) // 2 for start, following in pairwise(starts)]
    begins, ends = [0, *(m - MEET for m in middles)], [*(m + MEET for m in middles), whole]
    return {start: (begin, end) for start, begin, end in zip(starts, begins, ends, strict=True)}
