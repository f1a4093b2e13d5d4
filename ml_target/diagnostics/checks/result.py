"""The result of a check: figures compared with their bounds, a verdict, and the remedy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from ml_target.diagnostics.checks.bounds import Bound, Verdict
from ml_target.errors import WorkerError
from ml_target.remedies import command, replace
from ml_target.scheduling.model import Model

ORDER: tuple[Verdict, ...] = ("right", "near", "WRONG")
NEAR = "It works, though less well than it should. Please report it with this output."


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `key` is its name in the JSON report."""

    key: str
    value: float
    bound: Bound

    @property
    def verdict(self) -> Verdict:
        return self.bound.verdict(self.value)

    @property
    def words(self) -> str:
        """What was measured; with the bound if it is missed."""
        text = self.bound.words(self.value)
        return text if self.verdict == "right" else f"{text} ({self.bound.wanted} is wanted)"


def figures(bounds: Mapping[str, Bound], values: Mapping[str, float]) -> tuple[Figure, ...]:
    """The values with their bounds, in the order of the bounds."""
    assert values.keys() <= bounds.keys()
    return tuple(Figure(key, float(values[key]), bound) for key, bound in bounds.items() if key in values)


@dataclass(frozen=True, slots=True)
class Gap:
    """Why something was not checked or not compared, and what to do about it."""

    reason: str
    remedy: str = ""

    @classmethod
    def of(cls, error: WorkerError) -> "Gap":
        """A gap with the error's reason and remedy."""
        return cls(error.reason, error.remedy)


class NotChecked(Exception):
    """Raised if a check has nothing to check. `gap` says why."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(gap.reason)
        self.gap = gap


@dataclass(slots=True)
class Times:
    """Milliseconds of single calls, on the engine that serves and on its twin."""

    served: list[float] = field(default_factory=list)
    twin: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report.

    `name`: the task and stage; `files`: those that serve it. `gap`: why it was not compared. `fault`: what
    made it fail outright, with the remedy. Times are medians, in milliseconds. `own_remedy`: where files that are WRONG
    are the owner's own, and cannot be fetched again.
    """

    name: str
    files: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    gap: Gap | None = None
    fault: str = ""
    served_ms: float | None = None
    twin_ms: float | None = None
    own_remedy: str = ""

    @classmethod
    def of(
        cls,
        name: str,
        models: Sequence[Model],
        bounds: Mapping[str, Bound],
        values: Mapping[str, float],
        gap: Gap | None = None,
        times: Times | None = None,
    ) -> "Check":
        """The check of some models: the measured values with their bounds."""
        files = tuple(model.provenance.file for model in models)
        served, twin = (median(each) if each else None for each in ((times.served, times.twin) if times else ([], [])))
        return cls(name, files, figures(bounds, values), gap, "", served, twin)

    @property
    def verdict(self) -> Verdict:
        worst = max((ORDER.index(figure.verdict) for figure in self.figures), default=0)
        if self.fault or ORDER[worst] == "WRONG":
            return "WRONG"
        return "not checked" if self.gap or not self.figures else ORDER[worst]

    @property
    def reason(self) -> str:
        if self.fault or self.gap is None:
            return self.fault
        # The remedy of a check that went wrong is about that; what would close the gap is told with its reason.
        told = "" if self.verdict == "not checked" else self.gap.remedy
        return ". ".join(filter(None, (self.gap.reason, told)))

    @property
    def remedy(self) -> str:
        """What to do; "" if nothing."""
        if self.verdict == "not checked" and self.gap:
            return self.gap.remedy
        if self.verdict == "near":
            return NEAR
        if self.fault:
            return ask_doctor()
        return (self.own_remedy or fetch_anew(self.files)) if self.verdict == "WRONG" else ""


def ask_doctor() -> str:
    """The remedy for a check that failed outright."""
    return f"{command('doctor')} looks at the card, the driver and the files."


def fetch_anew(files: Sequence[str]) -> str:
    """The remedy for files whose answers are wrong."""
    return (
        f"Is it the file that it should be? {command('models verify')}; then {replace(what=' and '.join(files))}. "
        "If it stays, report it with this output."
    )
