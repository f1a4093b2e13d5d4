"""The figures that the parity tests measured, for the table at the end of the test session.

Use it as ``import parity_table as parity`` and
``parity.record("TinyCLIP", "picture cosine, least", value, "≥ 0.9999")``.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `subject`: what was compared; `bound`: what the test demanded of `value`, in words."""

    subject: str
    measure: str
    value: str
    bound: str


ROWS: list[Row] = []


def record(subject: str, measure: str, value: str | float, bound: str) -> None:
    """Keeps a figure. Record before asserting, so that a figure out of bounds is in the table too."""
    ROWS.append(Row(subject, measure, value if isinstance(value, str) else f"{value:.7g}", bound))


def lines() -> list[str]:
    """The table as text, one line a row, columns aligned; empty when nothing was recorded."""
    if not ROWS:
        return []
    cells = [("subject", "measure", "value", "bound"), *((r.subject, r.measure, r.value, r.bound) for r in ROWS)]
    widths = [max(len(row[column]) for row in cells) for column in range(4)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
