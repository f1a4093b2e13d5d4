"""How alike two sets of unit vectors rank. Pure maths."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ml_target.tensors import Float32

NEAREST = 10
BLOCK = 64
"""Rows that are compared with all others at once: for 100,000 photos 26 MB."""


class Spread(NamedTuple):
    """Mean, 5th percentile and least of the cosines."""

    mean: float
    low: float
    least: float


def spread(a: Float32, b: Float32) -> Spread:
    """Of the cosines between the rows of N x D and N x D unit vectors."""
    cosines = np.einsum("nd,nd->n", a, b, dtype=np.float64)
    return Spread(float(cosines.mean()), float(np.quantile(cosines, 0.05)), float(cosines.min()))


def same_ranking(asked_a: Float32, asked_b: Float32, rows: Float32, *, itself: bool) -> float:
    """The mean share of the nearest ten `rows` that Q questions of a and the same Q of b have in common.

    `itself`: question n is about row n, which does not count as its own neighbour.
    """
    most = min(NEAREST, len(rows) - itself)
    if most < 1 or not len(asked_a):
        return 1.0
    pairs = zip(_nearest(asked_a, rows, most, itself), _nearest(asked_b, rows, most, itself), strict=True)
    return float(np.mean([len(a & b) / most for a, b in pairs]))


def near_pairs(distance: float, *sides: tuple[Float32, Float32]) -> Iterator[list[npt.NDArray[np.bool_]]]:
    """For each (a, b) of `sides`: which a[i] and b[j], j > i, are within this cosine distance, a block of i at a time.

    All pairs of thousands of photos at once would take gigabytes.
    """
    places = np.arange(len(sides[0][0]))
    for start in range(0, len(places), BLOCK):
        rows = slice(start, start + BLOCK)
        later = places[start:] > places[rows, None]
        yield [(1 - a[rows] @ b[start:].T <= distance) & later for a, b in sides]


def _nearest(asked: Float32, rows: Float32, most: int, itself: bool) -> list[set[int]]:
    found: list[set[int]] = []
    for start in range(0, len(asked), BLOCK):
        likeness = asked[start : start + BLOCK] @ rows.T
        if itself:
            here = np.arange(len(likeness))
            likeness[here, start + here] = -2
        found += map(set, np.argpartition(-likeness, most - 1, axis=1)[:, :most].tolist())
    return found
