"""How well lines were read, against the lines that were drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate

import cv2
import numpy as np
from rapidocr_reference import edits
from text_pages import Page, PageLine

from ml_target.tensors import Float32

READ = 0.5
"""A drawn line counts as found when at most this share of its letters differs."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One line that an implementation read. `corners`: 4 x 2 picture pixels."""

    text: str
    corners: Float32


@dataclass
class Score:
    """Sums over lines; the properties are what tables show."""

    lines: int = 0
    found: int = 0
    exact: int = 0
    letters: int = 0
    wrong: int = 0
    letters_without_spaces: int = 0
    wrong_without_spaces: int = 0
    spaces: int = 0
    spaces_read: int = 0
    spaces_kept: int = 0
    readings: int = 0
    astray: int = 0
    pieces: int = 0
    box_errors: list[float] = field(default_factory=list)

    def sum(self, other: "Score") -> "Score":
        """Both together."""
        return Score(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Score)))

    def add(self, page: Page, readings: Sequence[Reading]) -> None:
        """Counts one page."""
        parts: list[list[Reading]] = [[] for _ in page.lines]
        known = bool(page.lines) and bool(np.isfinite(page.lines[0].corners).all())
        for reading in readings:
            index = _line_under(reading, page.lines) if known else _line_like(reading, page.lines, parts)
            if index is not None:
                parts[index].append(reading)
        self.readings += len(readings)
        placed = 0
        for line, pieces in zip(page.lines, parts, strict=True):
            placed += len(pieces) * self._add_line(line, pieces)
        self.astray += len(readings) - placed

    def _add_line(self, line: PageLine, pieces: list[Reading]) -> bool:
        along = line.corners[1] - line.corners[0]
        if np.isfinite(along).all():
            pieces = sorted(pieces, key=lambda p: float(p.corners.mean(axis=0) @ along))
        text = " ".join(" ".join(p.text for p in pieces).split())
        truth = " ".join(line.text.split())  # how wide a gap is cannot be read
        wrong = edits(text, truth)
        found = wrong <= READ * len(truth)
        self.lines += 1
        self.found += found
        self.pieces += found * len(pieces)
        self.exact += text == truth
        self.letters += len(truth)
        self.wrong += wrong
        self.letters_without_spaces += len(truth.replace(" ", ""))
        self.wrong_without_spaces += edits(text.replace(" ", ""), truth.replace(" ", ""))
        if found:
            self.spaces += truth.count(" ")
            self.spaces_read += text.count(" ")
            self.spaces_kept += _spaces_kept(text, truth)
            if np.isfinite(line.corners).all():
                self.box_errors.append(_box_error(pieces, line))
        return found

    @property
    def recall(self) -> float:
        return self.found / self.lines

    @property
    def precision(self) -> float:
        return 1 - self.astray / self.readings if self.readings else 1.0

    @property
    def error_rate(self) -> float:
        """Wrong, missing and additional letters over drawn ones."""
        return self.wrong / self.letters

    @property
    def error_rate_without_spaces(self) -> float:
        return self.wrong_without_spaces / self.letters_without_spaces

    @property
    def spaces_f1(self) -> float:
        """In lines that were found: spaces that were read, against those that were lost and those that were made up."""
        either = self.spaces + self.spaces_read
        return 2 * self.spaces_kept / either if either else 1.0

    @property
    def pieces_a_line(self) -> float:
        """Readings that a line which was found came in."""
        return self.pieces / self.found if self.found else 1.0

    @property
    def box_error(self) -> float:
        """Mean distance of the outline's extremes along and across the line, in heights of the line."""
        return float(np.mean(self.box_errors)) if self.box_errors else 0.0


def _line_under(reading: Reading, lines: Sequence[PageLine]) -> int | None:
    """The drawn line in which the reading's middle lies, or within half a height of which."""
    middle = reading.corners.mean(axis=0)
    point = (float(middle[0]), float(middle[1]))
    reach = [cv2.pointPolygonTest(line.corners, point, True) + _height(line) / 2 for line in lines]
    best = int(np.argmax(reach)) if reach else -1
    return best if reach and reach[best] >= 0 else None


def _line_like(reading: Reading, lines: Sequence[PageLine], taken: Sequence[Sequence[Reading]]) -> int | None:
    """Where lines have no places: the drawn line with the most of the same text that has no reading yet."""
    free = [(edits(reading.text, line.text), n) for n, line in enumerate(lines) if not taken[n]]
    wrong, best = min(free, default=(0, -1))
    return best if best >= 0 and wrong <= READ * len(lines[best].text) else None


def _height(line: PageLine) -> float:
    return float(np.linalg.norm(line.corners[3] - line.corners[0]))


def _spaces_kept(text: str, truth: str) -> int:
    """Of the drawn spaces, how many stand between the same two letters, not far from where they were drawn."""

    def gaps(line: str) -> dict[int, tuple[str, str]]:
        words = line.split()
        letters = "".join(words)
        ends = accumulate(len(word) for word in words[:-1])
        return {end: (letters[end - 1], letters[end]) for end in ends}

    drawn, read = gaps(truth), gaps(text)
    kept = 0
    for place, pair in drawn.items():
        match = next((place + shift for shift in (0, -1, 1, -2, 2) if read.get(place + shift) == pair), None)
        if match is not None:
            del read[match]
            kept += 1
    return kept


def _box_error(pieces: Sequence[Reading], line: PageLine) -> float:
    height = _height(line)
    along = (line.corners[1] - line.corners[0]) / np.linalg.norm(line.corners[1] - line.corners[0])
    across = np.array([-along[1], along[0]])
    drawn, read = line.corners - line.corners[0], np.concatenate([p.corners for p in pieces]) - line.corners[0]
    ends = [
        abs(float(extreme(read @ axis)) - float(extreme(drawn @ axis)))
        for axis in (along, across)
        for extreme in (np.min, np.max)
    ]
    return float(np.mean(ends)) / height
