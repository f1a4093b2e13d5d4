"""Letter-spaced lines: drawn together before they are cut into windows.

A sign or a headline whose letters stand far apart is read well as long as the network sees all of it. In windows of
320 pixels it takes the few letters it sees for full-width ones of a Chinese text, or for nothing: of letters half an em
apart two of five are wrong. With the pitch of ordinary print none is, and spaces stand between words only.
"""

import cv2
import numpy as np

from ml_target.preprocessing.ink import ink
from ml_target.tensors import UInt8

APART = 0.14
"""Three of four gaps in a letter-spaced line are at least this wide, in heights of the line; ordinary print has 0.06.

Not half of them: in a row of short words every second gap is one between words.
"""

FAR = 0.45
"""A letter and the gap behind it take at least this much there: a row of 1 and 7 has wide gaps, too, and only 0.42."""

PITCH = 0.35
"""What they take in ordinary print (small letters 0.37, capitals 0.45). From 0.32 to 0.4 all read equally well."""

NARROWEST = 0.4
"""No line is squeezed further: letters would be too thin to read."""

LETTERS = 8
"""Fewer do not tell: a line longer than a window has more, even letter-spaced."""

CONTRAST = 0.25
"""A column has ink above this share of the way from the emptiest column to a full one."""


def draw_together(line: UInt8) -> UInt8:
    """The line with the pitch of ordinary print: squeezed when its letters stand apart, else as it is.

    `line`: H x W x 3 uint8, any colour order.
    """
    height, width = line.shape[:2]
    share = _squeeze(line)
    if share == 1.0:
        return line
    return np.asarray(cv2.resize(line, (round(width * share), height), interpolation=cv2.INTER_AREA), np.uint8)


def _squeeze(line: UInt8) -> float:
    """The share of its width that the line is given."""
    columns = ink(line)
    emptiest, full = columns.min(), np.percentile(columns, 90)
    written = columns > emptiest + CONTRAST * (full - emptiest)
    edges = np.flatnonzero(np.diff(written.astype(np.int8), prepend=0, append=0))
    begins, ends = edges[::2], edges[1::2]
    if len(begins) < LETTERS:
        return 1.0
    gap = np.percentile(begins[1:] - ends[:-1], 25) / line.shape[0]
    pitch = gap + np.median(ends - begins) / line.shape[0]
    if gap < APART or pitch < FAR:
        return 1.0
    return float(max(NARROWEST, PITCH / pitch))
