"""The frames in which a recogniser reads a page: which lines come first, how wide they are, how many go at a time.

An engine that takes any width gets every window in a frame of its own, in few sizes, so that they share batches. A card
has one width: there the pieces of all lines are packed, and whole bursts are sent, because the rest of a burst that is
half empty costs as much.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ml_target.scheduling.model import Model
from ml_target.tasks.ocr.pack import GAP, Packed, Piece, pack

WIDEST = 2560  # a free recogniser reads longer lines in windows, too: 24 MB of output each
BUCKET = 64  # free widths are rounded up to a multiple, so that lines share batches; 2 % more to compute
SQUASH = 1.05  # a line up to this many times too wide is squeezed: nothing is lost, and a window is saved
CHUNK = 5120  # columns sent at a time, two bursts of eight frames: 47 MB of probabilities as floats

Lines = list[tuple[int, int]]
"""Numbers of lines, and the widths they are drawn at."""


@dataclass(frozen=True, slots=True)
class Frames:
    """`recognizer`: who reads them; `fixed`: their width where there is only one, else 0; `least`: the narrowest."""

    recognizer: Model
    fixed: int
    least: int

    @property
    def widest(self) -> int:
        return self.fixed or WIDEST

    @property
    def at_a_time(self) -> int:
        """Chunks that may be on their way: while one is decoded, another is on the device."""
        return max(2, CHUNK // (self._burst * self.fixed)) if self.fixed else 1

    def groups(self, widths: Sequence[int]) -> Iterator[Lines]:
        """About a chunk of lines at a time.

        Narrow ones first, so that those of one frame size share batches; where all frames are of one width they come
        last, and fill what the long ones leave.
        """
        group: Lines = []
        columns = 0
        for width, line in sorted(((w, n) for n, w in enumerate(widths)), reverse=bool(self.fixed)):
            width = min(width, self.widest) if width <= self.widest * SQUASH else width
            taken = self._columns_of(width)
            if group and columns + taken > CHUNK:
                yield group
                group, columns = [], 0
            group.append((line, width))
            columns += taken
        if group:
            yield group

    def count(self, group: Lines) -> int:
        """About how many frames the group will need."""
        columns = sum(self._columns_of(width) for _, width in group)
        return math.ceil(columns / self.fixed) if self.fixed else len(group)

    def chunks(self, pieces: Sequence[Piece], *, last: bool) -> tuple[list[list[Packed]], list[Piece]]:
        """Frames to send now, and the pieces that wait for others; the last wait for none."""
        if self.fixed:
            frames = pack(pieces, self.fixed)
            chunks = [frames[n : n + self._burst] for n in range(0, len(frames), self._burst)]
            full = bool(chunks) and len(chunks[-1]) == self._burst
        else:
            chunks = list(_by_columns([Packed.alone(piece, self._width(piece.width)) for piece in pieces]))
            full = bool(chunks) and _columns(chunks[-1]) + self.least > CHUNK
        if last or full or not chunks:
            return chunks, []
        return chunks[:-1], [piece for packed in chunks[-1] for piece in packed.pieces]

    @property
    def _burst(self) -> int:
        return self.recognizer.loaded.max_batch

    def _columns_of(self, width: int) -> int:
        """What a line takes: in packed frames it shares them where others may fit."""
        return min(width + GAP, max(width, self.fixed)) if self.fixed else max(width, self._width(width))

    def _width(self, width: int) -> int:
        """The columns of a frame of any width for a window of `width` columns."""
        return min(WIDEST, max(self.least, math.ceil(width / BUCKET) * BUCKET))


def _by_columns(frames: Sequence[Packed]) -> Iterator[list[Packed]]:
    """The frames in order, at most `CHUNK` columns at a time."""
    chunk: list[Packed] = []
    for packed in frames:
        if chunk and _columns(chunk) + packed.width > CHUNK:
            yield chunk
            chunk = []
        chunk.append(packed)
    if chunk:
        yield chunk


def _columns(frames: Sequence[Packed]) -> int:
    return sum(packed.width for packed in frames)
