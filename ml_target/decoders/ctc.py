"""Text recognition: the classes of every step to text (greedy CTC).

Only what won a step is kept of it, because a step has 18,385 classes: a line of 320 pixels is
2.9 MB as floats and forty numbers afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ml_target.errors import ModelError
from ml_target.tensors import Float32, Tensor

BLANK = 0
CLASSES = 18_385
"""PP-OCRv5 mobile: the blank, 18,383 characters, the space."""


@dataclass(frozen=True, slots=True)
class Alphabet:
    """What the classes stand for, in order; the blank stands for nothing."""

    symbols: tuple[str, ...]

    @classmethod
    def from_file(cls, file: Path, classes: int = CLASSES) -> "Alphabet":
        """Reads a dictionary: one character (or flag of two code points) a line, UTF-8.

        Raises ModelError when it is not the dictionary of a network with so many classes.
        """
        try:
            return cls.from_bytes(file.read_bytes(), classes)
        except OSError as error:
            raise ModelError(f"{file.name} cannot be read ({error}). Fetch it again.") from error
        except ModelError as error:
            raise ModelError(f"{file.name} {error}") from error

    @classmethod
    def from_bytes(cls, content: bytes, classes: int = CLASSES) -> "Alphabet":
        """As `from_file`, of the file's content."""
        remedy = "It belongs to another network: replace it with the catalogue's file."
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(f"is not UTF-8 text ({error}). {remedy}") from error
        # On "\n" only: the dictionary holds characters that other splitters take for line ends.
        lines = text.removesuffix("\n").split("\n")
        if len(lines) != classes - 2:
            raise ModelError(f"has {len(lines):,} characters where {classes - 2:,} are wanted. {remedy}")
        if len(set(lines)) != len(lines) or "" in lines or "\r" in text:
            raise ModelError(f"has empty or repeated lines, or Windows line ends. {remedy}")
        return cls(("", *lines, " "))

    def __len__(self) -> int:
        return len(self.symbols)

    def spell(self, classes: Sequence[int]) -> str:
        """The text of these classes. U+0000 is left out: PostgreSQL cannot store it."""
        return "".join([self.symbols[n] for n in classes]).replace("\0", "")


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What is left of a line: for each of T steps the class that won, its probability, and the blank's.

    `winners`: T integers; `probabilities`, `blanks`: T float32.
    """

    winners: npt.NDArray[np.intp]
    probabilities: Float32
    blanks: Float32

    def __len__(self) -> int:
        return len(self.winners)

    def part(self, start: int, stop: int) -> "Steps":
        """Steps `start` to `stop`."""
        taken = slice(start, stop)
        return Steps(self.winners[taken], self.probabilities[taken], self.blanks[taken])


def read_steps(classes: Tensor) -> Steps:
    """The winners of T x classes, floats or integers as they left the engine; ties go to the lower class."""
    winners = classes.values.argmax(axis=1)
    rows = np.arange(len(winners))
    # Picked, not sliced: a view of the blanks would keep every class of every step in memory.
    return Steps(winners, classes.real((rows, winners)), classes.real((rows, np.full_like(rows, BLANK))))


def decode(steps: Steps, alphabet: Alphabet) -> tuple[str, float]:
    """The text, and the mean probability of the steps that made it; "" and 0 when there is none."""
    kept = steps.winners != BLANK
    kept[1:] &= steps.winners[1:] != steps.winners[:-1]  # a letter twice in a row has a blank between
    if not kept.any():
        return "", 0.0
    return alphabet.spell(steps.winners[kept].tolist()), float(steps.probabilities[kept].mean(dtype=np.float64))
