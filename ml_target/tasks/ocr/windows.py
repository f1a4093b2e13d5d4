"""Splits lines wider than the recogniser into windows that begin and end between letters.

A window that cuts a letter is read worse not only there: the network takes in all of it, and loses
letters half a window away (measured: twice as many wrong letters). So borders are where the picture is emptiest.
"""

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


class Window(NamedTuple):
    """Columns `start` to `stop` of a line."""

    start: int
    stop: int


def windows(line: UInt8, widest: int) -> list[Window]:
    """Windows that cover the line, each at most `widest` columns, with neighbours that overlap.

    `line`: H x W x 3 uint8, any colour order. `widest` is larger than `OVERLAP` + 2 x `BORDER_RANGE`.
    """
    width = line.shape[1]
    if width <= widest:
        return [Window(0, width)]
    ink = _ink(line)
    found: list[Window] = []
    start = 0
    while width - start > widest:
        stop = _emptiest(ink, start + widest - BORDER_RANGE, start + widest)
        found.append(Window(start, stop))
        start = _emptiest(ink, stop - OVERLAP - BORDER_RANGE, stop - OVERLAP)
    return [*found, Window(start, width)]


def _ink(line: UInt8) -> Float32:
    """How much each column varies from top to bottom, smoothed."""
    first, second, third = (line[..., channel] for channel in range(3))
    total = np.add(np.add(first, second, dtype=np.uint16), third)  # numpy's own mean of three takes ten times as long
    spread = np.divide(total, 3, dtype=np.float32).std(axis=0)
    return np.asarray(cv2.GaussianBlur(spread[None], (0, 0), BLUR, borderType=cv2.BORDER_REPLICATE)[0], np.float32)


def _emptiest(ink: Float32, low: int, high: int) -> int:
    """The column in `low` + 1 .. `high` with the least ink; of equals the last."""
    return high - int(ink[low + 1 : high + 1][::-1].argmin())
