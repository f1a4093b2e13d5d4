"""Findings as a person reads them, and as a program does."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from ml_target.system.finding import Finding

MARKS = {True: "ok   ", False: "WRONG", None: "note "}


def as_text(found: Iterable[Finding]) -> str:
    """One aligned line for each finding, its remedy below."""
    found = list(found)
    width = max(len(finding.what) for finding in found)
    lines = []
    for finding in found:
        lines.append(f"{MARKS[finding.ok]}  {finding.what.ljust(width)}  {finding.detail}")
        if finding.remedy:
            lines.append(f"{' ' * (width + 9)}-> {finding.remedy}")
    return "\n".join(lines)


def as_json(found: Iterable[Finding]) -> str:
    """A list of objects with the fields of a Finding, on one line, as other output may come before it."""
    return json.dumps([asdict(finding) for finding in found], ensure_ascii=False)


def from_json(text: str) -> list[Finding]:
    """What `as_json` wrote. Raises ValueError, TypeError for anything else."""
    return [Finding(**fields) for fields in json.loads(text)]


def verdict(found: Sequence[Finding]) -> str:
    """The last line. It says "nothing is wrong" only if everything was looked at."""
    wrong = sum(finding.ok is False for finding in found)
    left = ", ".join(dict.fromkeys(finding.what for finding in found if not finding.looked))
    if wrong:
        return f"{wrong} wrong" + (f"; not looked at: {left}" if left else "")
    return f"nothing wrong was found; not looked at: {left}" if left else "nothing is wrong"


def is_wrong(found: Iterable[Finding]) -> bool:
    """Whether anything is wrong."""
    return any(finding.ok is False for finding in found)


def is_barred(found: Iterable[Finding]) -> bool:
    """Whether anything is wrong that keeps the card from being queried."""
    return any(finding.ok is False and finding.bars for finding in found)
