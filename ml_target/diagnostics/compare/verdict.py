"""The three verdicts, and what each asks for in Immich."""

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What a change from one worker to the other means for what is stored."""

    SAME = "same space"
    ALIKE = "ranks alike"
    OTHER = "another space"
    OPEN = "no verdict"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a result. `shown`: as people read it; `key` and `value`: for programs."""

    key: str
    label: str
    value: float
    shown: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The result for one task.

    `compared`: in words, how much was compared. `advice`: what to do in Immich. `why`: what decided, in words.
    """

    task: str
    compared: str
    figures: tuple[Figure, ...]
    verdict: Verdict
    why: str
    advice: str


def share(key: str, label: str, value: float) -> Figure:
    """A share, 0 to 1, shown in per cent."""
    return Figure(key, label, value, f"{100 * value:.1f} %")


def number(key: str, label: str, value: float, digits: int = 4) -> Figure:
    return Figure(key, label, value, f"{value:.{digits}f}")


def count(key: str, label: str, value: int) -> Figure:
    return Figure(key, label, value, f"{value:,}")
