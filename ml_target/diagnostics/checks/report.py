"""The whole report, and the plain data that it is made of; `output.py` writes that."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_target.diagnostics.checks.bounds import Verdict
from ml_target.diagnostics.checks.output import SCHEMA
from ml_target.diagnostics.checks.result import Check, Figure

SHORT_HASH = 12

EXIT_CODES: Mapping[Verdict, int] = {"right": 0, "near": 0, "WRONG": 1, "not checked": 3}
"""2 is for settings and arguments that cannot be read."""


@dataclass(frozen=True, slots=True)
class UsedFile:
    """A model file that was opened, by which engine, and what the catalogue notes about it."""

    name: str
    engine: str
    sha256: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """`compared`: whether there was a card to compare with the processor."""

    header: Mapping[str, str]
    checks: Sequence[Check]
    files: Sequence[UsedFile]
    compared: bool

    @property
    def verdict(self) -> Verdict:
        """WRONG when anything is; `not checked` only when nothing was."""
        seen = {check.verdict for check in self.checks}
        order: tuple[Verdict, ...] = ("WRONG", "near", "right")
        return next((verdict for verdict in order if verdict in seen), "not checked")

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.verdict]

    @property
    def summary(self) -> str:
        """The overall verdict in one line."""
        counts = Counter(check.verdict for check in self.checks)
        parts = [f"{counts[v]} {v}" for v in ("right", "near", "WRONG", "not checked") if counts[v]]
        if self.verdict == "not checked":
            seen = any(check.figures for check in self.checks)
            return "NOTHING WAS COMPARED; what was answered looks right by itself" if seen else "NOTHING WAS CHECKED"
        how = "" if self.compared else " (the processor alone: nothing was compared, the answers were looked at)"
        return f"{self.verdict}: {', '.join(parts)}{how}"


def content_of(report: Report) -> dict[str, Any]:
    """The report as plain data."""
    return {
        "schema": SCHEMA,
        "verdict": report.verdict,
        "summary": report.summary,
        "exit_code": report.exit_code,
        "compared": report.compared,
        "header": dict(report.header),
        "checks": [_entry(check) for check in report.checks],
        "files": [
            {"file": f.name, "engine": f.engine, "sha256": f.sha256[:SHORT_HASH], "note": f.note} for f in report.files
        ],
    }


def _entry(check: Check) -> dict[str, Any]:
    return {
        "name": check.name,
        "verdict": check.verdict,
        "files": list(check.files),
        "figures": [_figure(figure) for figure in check.figures],
        "ms": {"served": _rounded(check.served_ms), "cpu": _rounded(check.twin_ms)},
        "reason": check.reason,
        "remedy": check.remedy,
    }


def _figure(figure: Figure) -> dict[str, Any]:
    """`value` is null if it is not finite; a share is between 0 and 1, and `of` names the whole."""
    bound = figure.bound
    finite = figure.value if abs(figure.value) < float("inf") else None
    return {
        "key": figure.key,
        "what": bound.what,
        "of": bound.of,
        "value": finite,
        "right": bound.right,
        "near": bound.near,
        "better": "higher" if bound.higher else "lower",
        "verdict": figure.verdict,
        "words": figure.words,
    }


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 2)
