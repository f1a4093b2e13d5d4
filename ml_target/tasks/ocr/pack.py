"""Puts pieces of lines side by side into frames of the recogniser, and tells what was read of each.

A frame costs the card the same however little it shows. Pieces with some padding between them are read as well as
alone, whatever lines they are of; `scripts/bench accuracy` would show it if they were not.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ml_target.tasks.ocr.crop import pad_right
from ml_target.tasks.ocr.ctc import Glyphs
from ml_target.tasks.ocr.stitch import Part
from ml_target.tasks.ocr.windows import Window
from ml_target.tensors import UInt8

GAP = 64
"""The fewest columns of padding between two pieces, eight steps: with half of it some Chinese letters are lost."""


class Piece(NamedTuple):
    """`window` of line number `line`. `content`: H x W x 3 uint8 in the network's colour order."""

    line: int
    window: Window
    content: UInt8

    @property
    def width(self) -> int:
        """Columns of the content."""
        return int(self.content.shape[1])


class Packed(NamedTuple):
    """One frame of `width` columns. `pieces`: from left to right; `lefts`: the column at which each begins."""

    pieces: tuple[Piece, ...]
    lefts: tuple[int, ...]
    width: int

    @classmethod
    def alone(cls, piece: Piece, width: int) -> "Packed":
        """One piece, at the left."""
        return cls((piece,), (0,), width)

    def frame(self) -> UInt8:
        """The picture for the recogniser; between the pieces and behind them it is mid-grey."""
        frame = pad_right(self.pieces[0].content, self.width)
        for piece, left in zip(self.pieces[1:], self.lefts[1:], strict=True):
            frame[:, left : left + piece.width] = piece.content
        return frame

    def parts(self, glyphs: Glyphs, space: int) -> list[tuple[int, Part]]:
        """The line's number and what was read of it, for every piece. `glyphs`: those of the frame, by its columns.

        A glyph belongs to the nearest piece; a space (class `space`) that lies in the padding to none.
        """
        if len(self.pieces) == 1:
            return [_part(self.pieces[0], glyphs, 0)]
        ends = [left + piece.width for piece, left in zip(self.pieces, self.lefts, strict=True)]
        middles = (np.array(ends[:-1]) + np.array(self.lefts[1:])) / 2
        owners, letters = np.searchsorted(middles, glyphs.columns), glyphs.classes != space
        parts = []
        for number, (piece, left, end) in enumerate(zip(self.pieces, self.lefts, ends, strict=True)):
            inside = (glyphs.columns >= left) & (glyphs.columns < end)
            parts.append(_part(piece, glyphs.part((owners == number) & (letters | inside)), left))
        return parts


def pack(pieces: Sequence[Piece], width: int) -> list[Packed]:
    """Few frames of `width` columns, the fullest first: the widest piece first, each where there is still room."""
    frames: list[list[Piece]] = []
    room: list[int] = []
    for piece in sorted(pieces, key=lambda piece: -piece.width):
        place = next((n for n, free in enumerate(room) if piece.width + GAP <= free), None)
        if place is None:
            frames.append([piece])
            room.append(width - piece.width)
        else:
            frames[place].append(piece)
            room[place] -= piece.width + GAP
    return [_spread(frames[n], width) for n in sorted(range(len(frames)), key=room.__getitem__)]


def _spread(pieces: Sequence[Piece], width: int) -> Packed:
    """The pieces as far apart as there is room, with as much padding behind the last."""
    widths = [piece.width for piece in pieces]
    gap = max(GAP, (width - sum(widths)) // len(pieces))
    lefts = [sum(widths[:n]) + n * gap for n in range(len(pieces))]
    return Packed(tuple(pieces), tuple(lefts), width)


def _part(piece: Piece, glyphs: Glyphs, left: int) -> tuple[int, Part]:
    return piece.line, Part(glyphs.moved(piece.window.start - left), *piece.window)
