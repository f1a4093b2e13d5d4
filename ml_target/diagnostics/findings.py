"""Findings as a person reads them."""

from collections.abc import Iterable

from ml_target.system.cards import Finding

MARKS = {True: "ok   ", False: "WRONG", None: "note "}


def as_text(found: Iterable[Finding]) -> str:
    """One aligned line a finding, its remedy below."""
    found = list(found)
    width = max(len(finding.what) for finding in found)
    lines = []
    for finding in found:
        lines.append(f"{MARKS[finding.ok]}  {finding.what.ljust(width)}  {finding.detail}")
        if finding.remedy:
            lines.append(f"{' ' * (width + 9)}-> {finding.remedy}")
    return "\n".join(lines)


def verdict(found: Iterable[Finding]) -> str:
    """The last line: only where all was looked at and is right is nothing wrong."""
    found = list(found)
    wrong = sum(finding.ok is False for finding in found)
    left = ", ".join(dict.fromkeys(finding.what for finding in found if not finding.looked))
    if wrong:
        return f"{wrong} wrong" + (f"; not looked at: {left}" if left else "")
    return f"nothing wrong was found; not looked at: {left}" if left else "nothing is wrong"


def is_wrong(found: Iterable[Finding], *what: str) -> bool:
    """Whether anything is wrong; `what`: of these headings only."""
    return any(finding.ok is False and (not what or finding.what in what) for finding in found)
