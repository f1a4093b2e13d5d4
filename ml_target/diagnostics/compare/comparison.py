"""The three verdicts, and what each asks for in Immich."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

ANSWERED = 0.95
"""Of what either worker answers, the share that both must, for a verdict that says that something stays."""


class Likeness(Enum):
    """What a change from one worker to the other means for what is stored."""

    SAME = "same space"
    ALIKE = "ranks alike"
    OTHER = "another space"
    OPEN = "no verdict"


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of a result. `shown`: as people read it; `key` and `value`: for programs."""

    key: str
    label: str
    value: float
    shown: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result for one task.

    `compared`: in words, how much was compared. `advice`: what to do in Immich. `why`: what decided, in words.
    """

    task: str
    compared: str
    measures: tuple[Measure, ...]
    likeness: Likeness
    why: str
    advice: str


def share(key: str, label: str, value: float) -> Measure:
    """A share, 0 to 1, shown in per cent."""
    return Measure(key, label, value, f"{100 * value:.1f} %")


def number(key: str, label: str, value: float, digits: int = 4) -> Measure:
    return Measure(key, label, value, f"{value:.{digits}f}")


def count(key: str, label: str, value: int) -> Measure:
    return Measure(key, label, value, f"{value:,}")


def open_where_one_is_silent(comparison: Comparison, alone: Iterable[tuple[int, int, str]]) -> Comparison:
    """The comparison; no verdict where one worker alone answered much. `alone`: answered by either, by both, what."""
    for either, both, what in alone:
        if both < ANSWERED * either and comparison.likeness in (Likeness.SAME, Likeness.ALIKE):
            why = f"of {either:,} {what} that one worker answers, both answer only {both:,}"
            advice = "The end of this list says what was not answered, and why: mend that, then compare again."
            return replace(comparison, likeness=Likeness.OPEN, why=why, advice=advice)
    return comparison


def open_without_own_photos(comparison: Comparison) -> Comparison:
    """The comparison on bundled pictures: they show that two workers differ, never that something stays."""
    if comparison.likeness not in (Likeness.SAME, Likeness.ALIKE):
        return comparison
    why, advice = "bundled pictures show only how alike answers are", "Name a folder of your own photos."
    return replace(comparison, likeness=Likeness.OPEN, why=why, advice=advice)
