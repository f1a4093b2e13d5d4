"""Lines that are wider than the recogniser: overlapping windows, joined step by step.

The windows are joined before anything is decoded, so a letter that stands in the overlap is read once.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ml_target.decoders.ctc import Steps


class Window(NamedTuple):
    """Columns `start` to `stop` of a line, in pixels."""

    start: int
    stop: int

    @property
    def width(self) -> int:
        return self.stop - self.start


def windows(width: int, widest: int, overlap: int, step: int) -> list[Window]:
    """Windows that cover a line of `width` pixels, none wider than `widest`.

    One that fits is one window. Otherwise all are `widest`, start on multiples of `step` (the pixels
    of one CTC step; it divides `widest` and `overlap`), share about `overlap` pixels or more, and
    the last one ends at `width` rounded up to a `step`.
    """
    if width <= widest:
        return [Window(0, width)]
    steps, window = math.ceil(width / step), widest // step
    count = math.ceil((steps - overlap // step) / (window - overlap // step))
    starts = [round(i * (steps - window) / (count - 1)) * step for i in range(count)]
    return [Window(start, start + widest) for start in starts]


def join(parts: Sequence[Steps], starts: Sequence[int]) -> Steps:
    """One sequence out of overlapping ones; `starts`: the step of the whole line at which each begins.

    Neighbours are cut in the middle half of their overlap (at its rims both see cut letters),
    before the step where both are surest of a blank.
    """
    pieces: list[Steps] = []
    begin = 0
    for i, (part, start) in enumerate(zip(parts, starts, strict=True)):
        end = start + len(part)
        if i + 1 < len(parts):
            end = max(begin, _seam(part, start, parts[i + 1], starts[i + 1]))
        pieces.append(part.part(begin - start, end - start))
        begin = end
    return Steps(
        np.concatenate([p.winners for p in pieces]),
        np.concatenate([p.probabilities for p in pieces]),
        np.concatenate([p.blanks for p in pieces]),
    )


def _seam(left: Steps, left_start: int, right: Steps, right_start: int) -> int:
    """The step of the whole line that is the first to be taken from `right`."""
    low, high = right_start, left_start + len(left)
    rim = (high - low) // 4
    low, high = low + rim, high - rim
    if high <= low:
        return low
    blanks = left.blanks[low - left_start : high - left_start] + right.blanks[low - right_start : high - right_start]
    return low + int(blanks.argmax())
