"""The whole report: as text for people, as JSON for programs."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from ml_target.diagnostics.checks.bounds import Verdict
from ml_target.diagnostics.checks.result import Check, Figure

SCHEMA = 1
SHORT_HASH = 12
WIDTH, INDENT = 118, 13

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


def as_text(report: Report) -> str:
    """Header, files, a line for each check with its remedy, the verdict."""
    width = max(len(name) for name in (*report.header, "files"))
    lines = [f"{name.ljust(width)}  {words}" for name, words in report.header.items()]
    lines += [f"{'files' if n == 0 else '':{width}}  {_file(file)}" for n, file in enumerate(report.files)]
    lines.append("")
    name_width = max((len(check.name) for check in report.checks), default=0)
    said: set[str] = set()
    for check in report.checks:
        lines += _check(check, name_width)
        if check.remedy:  # in one line, so that a command in it can be copied
            lines.append(f"{'':{INDENT}}-> {'as above' if check.remedy in said else check.remedy}")
        said.add(check.remedy)
    return _tidy("\n".join([*lines, "", report.summary]))


def as_json(report: Report) -> str:
    """The same for programs."""
    content = {
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
    return _tidy(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False))


def _check(check: Check, name_width: int) -> Iterator[str]:
    told = "; ".join([*filter(None, [check.reason]), *(figure.words for figure in check.figures)])
    start = f"{check.verdict.ljust(INDENT)}{check.name.ljust(name_width)}  {_times(check).ljust(21)}  "
    if len(start) + len(told) <= WIDTH:
        yield f"{start}{told}".rstrip()
    else:
        yield start.rstrip()
        lines = wrap(told, WIDTH - INDENT, break_long_words=False, break_on_hyphens=False)
        yield from (f"{'':{INDENT}}{line}" for line in lines)


def _times(check: Check) -> str:
    if check.served_ms is None:
        return ""
    if check.twin_ms is None:
        return f"{check.served_ms:.1f} ms"
    return f"{check.served_ms:.1f} ms, CPU {check.twin_ms:.1f}"


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
    }


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 2)


def _file(file: UsedFile) -> str:
    note = f" ({file.note})" if file.note else ""
    return f"{file.sha256[:SHORT_HASH]}  {file.engine:5}  {file.name}{note}"


def _tidy(text: str) -> str:
    """Replaces a home folder that contains the user's name: /home/NAME, but not /root or a container's /app."""
    home = Path.home()
    return text.replace(str(home), "~") if len(home.parts) > 2 else text
