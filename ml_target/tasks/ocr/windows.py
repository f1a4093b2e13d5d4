"""Splits lines wider than the recogniser into windows that begin and end between letters.

A window that cuts a letter is read worse not only there: the network takes in all of it, and loses
letters half a window away (measured: twice as many wrong letters). So borders are where the picture is emptiest.
Where a gap is clearly one between words, the next window begins where the last one ended: nothing is read twice.
"""

from statistics import median
from typing import NamedTuple

import cv2
import numpy as np

from ml_target.tensors import Float32, UInt8

OVERLAP = 48
"""The fewest columns that neighbours share, at a line height of 48: one Chinese character, two or three letters."""

BORDER_RANGE = 48
"""Columns within which a border may move to the emptiest: most words have a gap there, and every letter ends."""

BLUR = 2.5
"""Sigma, in columns, of the filter over the ink: a wide gap becomes emptier than a narrow one, most in its middle."""


WORD_RANGE = 96
"""Columns within which a window may end at the last gap between words: the overlap costs as much on average."""

WORD_GAP = 10
"""The fewest columns of a gap between words, a fifth of the height; a space of most fonts has a quarter em."""

WORD_GAP_TIMES = 3
"""How many times as wide as the line's median gap one between words is: letters that stand apart are no words, nor
are the strokes of Chinese characters."""

EMPTY = 0.2
"""A column with at most this share of the ink that letters have, above the line's emptiest, is empty."""


class Window(NamedTuple):
    """Columns `start` to `stop` of a line."""

    start: int
    stop: int


def windows(line: UInt8, widest: int, *, at_words: bool = False) -> list[Window]:
    """Windows that cover the line, each at most `widest` columns. Neighbours overlap.

    `line`: H x W x 3 uint8, any colour order. `widest` is larger than `OVERLAP` + 2 x `BORDER_RANGE`.
    `at_words`: neighbours meet without overlap where that is between words.
    """
    width = line.shape[1]
    if width <= widest:
        return [Window(0, width)]
    ink = _ink(line)
    words = _word_gaps(ink) if at_words else []
    ink = _smooth(ink)
    found: list[Window] = []
    start = 0
    while width - start > widest:
        word = max((gap for gap in words if gap <= start + widest), default=0)
        if word > start + widest - WORD_RANGE:
            found.append(Window(start, word))
            start = word
        else:
            stop = _emptiest(ink, start + widest - BORDER_RANGE, start + widest)
            found.append(Window(start, stop))
            start = _emptiest(ink, stop - OVERLAP - BORDER_RANGE, stop - OVERLAP)
    return [*found, Window(start, width)]


def _ink(line: UInt8) -> Float32:
    """How much each column varies from top to bottom."""
    first, second, third = (line[..., channel] for channel in range(3))
    total = np.add(np.add(first, second, dtype=np.uint16), third)  # numpy's own mean of three takes ten times as long
    return np.asarray(np.divide(total, 3, dtype=np.float32).std(axis=0), np.float32)


def _word_gaps(ink: Float32) -> list[int]:
    """The middles of the gaps between words, from left to right."""
    last = len(ink) - 1  # as np.percentile does it, in a tenth of its time
    emptiest, letters = np.interp((0.05 * last, 0.8 * last), np.arange(len(ink)), np.sort(ink))
    empty = np.concatenate([[False], ink <= emptiest + EMPTY * (letters - emptiest), [False]])
    edges = np.flatnonzero(empty[1:] != empty[:-1])
    gaps = [(low, high) for low, high in edges.reshape(-1, 2).tolist() if low > 0 and high < len(ink)]
    if not gaps:
        return []
    enough = max(WORD_GAP, WORD_GAP_TIMES * median(high - low for low, high in gaps))
    return [(low + high) // 2 for low, high in gaps if high - low >= enough]


def _smooth(ink: Float32) -> Float32:
    return np.asarray(cv2.GaussianBlur(ink[None], (0, 0), BLUR, borderType=cv2.BORDER_REPLICATE)[0], np.float32)


def _emptiest(ink: Float32, low: int, high: int) -> int:
    """The column in `low` + 1 .. `high` with the least ink; of equals the last."""
    return high - int(ink[low + 1 : high + 1][::-1].argmin())
