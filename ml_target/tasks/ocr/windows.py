"""Lines wider than the recogniser: windows that begin and end between letters.

A window that cuts a letter is not read worse at that letter only: the network looks at all of it, and loses
letters half a window away (measured: twice the wrong letters). So borders lie where the picture is emptiest.
"""

from typing import NamedTuple

import cv2
import numpy as np

from ml_target.tensors import Float32, UInt8

OVERLAP = 48
"""Columns that neighbours share at least, at a line's height of 48: one Chinese character, two or three letters."""

BORDER_RANGE = 48
"""Columns among which the emptiest is looked for: most words have a gap by then, and every letter has ended."""

BLUR = 2.5
"""Sigma, in columns, of the filter over the ink: it makes a wide gap emptier than a narrow one, in its middle most."""


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
    spread = line.mean(axis=2, dtype=np.float32).std(axis=0)
    return np.asarray(cv2.GaussianBlur(spread[None], (0, 0), BLUR, borderType=cv2.BORDER_REPLICATE)[0], np.float32)


def _emptiest(ink: Float32, low: int, high: int) -> int:
    """The column in `low` + 1 .. `high` with the least ink, the last of equals."""
    return high - int(ink[low + 1 : high + 1][::-1].argmin())
