"""Text recognition: from the class scores of every step to text (greedy CTC).

Only the characters are kept, because a step has 18,385 classes: a line of 320 pixels takes 2.9 MB as
floats, and gives some twenty characters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_target.catalogue.networks import OCR_CLASSES
from ml_target.errors import EngineFault, ModelError
from ml_target.remedies import check_file, damaged
from ml_target.tensors import Float32, Tensor

BLANK = 0
SLACK = 0.01
"""Quantised probabilities may stand a little outside 0..1."""


@dataclass(frozen=True, slots=True)
class Alphabet:
    """What the classes stand for, in order; the blank stands for nothing."""

    symbols: tuple[str, ...]

    @classmethod
    def from_file(cls, file: Path, classes: int = OCR_CLASSES) -> "Alphabet":
        """Reads a dictionary: one character (or flag of two code points) per line, UTF-8.

        Raises DamagedFileError when it cannot be read or is not such a list, ModelError when it is the dictionary of a
        network with another number of classes.
        """
        try:
            content = file.read_bytes()
        except OSError as error:
            raise damaged(f"{file.name} cannot be read ({error})") from error
        return cls.from_bytes(content, classes, file.name)

    @classmethod
    def from_bytes(cls, content: bytes, classes: int = OCR_CLASSES, name: str = "The dictionary") -> "Alphabet":
        """As `from_file`, of the file's content; `name` is what errors call it."""
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise damaged(f"{name} is not UTF-8 text ({error})") from error
        remedy = "It belongs to another network: replace it with the catalogue's file."
        # On "\n" only: the dictionary holds characters that `splitlines` takes for line ends.
        lines = text.removesuffix("\n").split("\n")
        if len(lines) != classes - 2:
            raise ModelError(f"{name} has {len(lines):,} characters where {classes - 2:,} are wanted", f"{remedy}")
        if len(set(lines)) != len(lines) or "" in lines or "\r" in text:
            raise damaged(f"{name} has empty or repeated lines, or Windows line ends")
        return cls(("", *lines, " "))

    def __len__(self) -> int:
        return len(self.symbols)

    def spell(self, classes: Sequence[int]) -> str:
        """The text of these classes. U+0000 is left out: PostgreSQL cannot store it."""
        return "".join([self.symbols[n] for n in classes]).replace("\0", "")


@dataclass(frozen=True, slots=True, eq=False)
class Glyphs:
    """What is left of a line: N characters from left to right, spaces included.

    `classes`: N integers; `probabilities`: N float32; `columns`: N float32, the middle of the step at which each
    begins, in pixels of the line.
    """

    classes: npt.NDArray[np.intp]
    probabilities: Float32
    columns: Float32

    def __len__(self) -> int:
        return len(self.classes)

    def part(self, index: Any) -> "Glyphs":
        """The characters that numpy's `index` picks."""
        return Glyphs(self.classes[index], self.probabilities[index], self.columns[index])


def joined(pieces: Sequence[Glyphs]) -> Glyphs:
    """The pieces one after another; at least one is needed."""
    return Glyphs(
        np.concatenate([piece.classes for piece in pieces]),
        np.concatenate([piece.probabilities for piece in pieces]),
        np.concatenate([piece.columns for piece in pieces]),
    )


def read_glyphs(classes: Tensor, step: int, start: int = 0) -> Glyphs:
    """The characters in T x classes, floats or integers as they left the engine; ties go to the lower class.

    Of each run of steps with the same winner the first counts, then blanks are dropped. `step`: columns of the line
    per time step; `start`: the column at which the first begins. Raises EngineFault for values that are not
    probabilities.
    """
    winners = classes.values.argmax(axis=1)  # a NaN wins over every number
    highest = classes.real((np.arange(len(winners)), winners))
    if not ((highest >= -SLACK) & (highest <= 1 + SLACK)).all():
        raise EngineFault("The text recogniser gave probabilities that are not numbers from 0 to 1", check_file())
    kept = winners != BLANK
    kept[1:] &= winners[1:] != winners[:-1]  # a double letter has a blank in between
    rows = np.flatnonzero(kept)
    columns = (rows * step + (start + step / 2)).astype(np.float32)
    return Glyphs(winners[rows], highest[rows], columns)


def decode(glyphs: Glyphs, alphabet: Alphabet) -> tuple[str, float]:
    """The text, and the mean probability of its characters; "" and 0 when there is none."""
    if not len(glyphs):
        return "", 0.0
    return alphabet.spell(glyphs.classes.tolist()), float(glyphs.probabilities.mean(dtype=np.float64))
