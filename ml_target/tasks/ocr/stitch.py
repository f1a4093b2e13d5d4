"""Joins the windows of one line where both show the same letter in the same place.

Positions decide, together with the probabilities of the steps there; a letter in the overlap is taken once, and the
spaces before and after it come from the window that saw both of their sides.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ml_target.tasks.ocr.ctc import Glyphs, joined

SAME_PLACE = 13
"""Columns: a letter seen in two windows appears at most one and a half steps (of 8 columns) apart."""

RIM = 0.2
"""The weight of a match at the border of the overlap, where one in its middle counts 1."""


class Part(NamedTuple):
    """What one window of a line shows. `glyphs` are placed in the line; `start`, `stop`: its columns."""

    glyphs: Glyphs
    start: int
    stop: int


def join(parts: Sequence[Part], space: int) -> Glyphs:
    """The glyphs of the line, in order.

    `parts`: from left to right; `space`: the class of the space, which is no letter to join at.
    """
    pieces: list[Glyphs] = []
    last = parts[0].glyphs
    for left, right in pairwise(parts):
        done, last = _meet(last, right.glyphs, right.start, left.stop, space)
        pieces.append(done)
    return joined([*pieces, last])


def _meet(left: Glyphs, right: Glyphs, low: int, high: int, space: int) -> tuple[Glyphs, Glyphs]:
    """`left` up to and including the letter they are joined at, `right` after it. They overlap from `low` to `high`."""
    middle, half = (low + high) / 2, (high - low) / 2
    if not (len(left) and len(right)):
        return _cut(left, right, middle)
    letters = (left.classes[:, None] == right.classes) & (left.classes[:, None] != space)
    apart = np.where(letters, np.abs(left.columns[:, None] - right.columns), np.inf)
    # Each must be the other's nearest: the first of a double letter must not match the second.
    same = (apart == apart.min(axis=1, keepdims=True)) & (apart == apart.min(axis=0, keepdims=True))
    off = np.abs((left.columns[:, None] + right.columns) / 2 - middle) / half
    sure = np.minimum(left.probabilities[:, None], right.probabilities)
    worth = np.where(same & (apart <= SAME_PLACE) & (off <= 1), sure * (1 - (1 - RIM) * off), 0.0)
    if not worth.any():
        return _cut(left, right, middle)
    i, j = np.unravel_index(worth.argmax(), worth.shape)
    return left.part(slice(None, int(i) + 1)), right.part(slice(int(j) + 1, None))


def _cut(left: Glyphs, right: Glyphs, middle: float) -> tuple[Glyphs, Glyphs]:
    """`left` and `right` of the column near the middle that is farthest from every glyph: none doubled or lost."""
    places = middle + np.array([0, -4, 4, -8, 8, -12, 12])
    glyphs = np.concatenate([left.columns, right.columns])
    distance = np.abs(places[:, None] - glyphs).min(axis=1, initial=np.inf)
    place = places[distance.argmax()]
    return left.part(left.columns < place), right.part(right.columns >= place)
