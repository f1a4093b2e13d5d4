"""What the fault tests saw, for the table at the end of the test session.

Use it as ``import fault_table`` and ``fault_table.record("dead pipeline", tally.answered, watch.away)``.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One fault. `away`: seconds in which /ping was not answered ready."""

    fault: str
    requests: int
    answered: int
    refused: int
    away: float


HEAD = ("fault, 8 clients in flight", "requests", "200", "503", "seconds not ready")
ROWS: list[Row] = []


def record(fault: str, statuses: Mapping[int, int], away: float) -> None:
    """Keeps what came of a fault. `statuses`: how many answers had which status."""
    ROWS.append(Row(fault, sum(statuses.values()), statuses.get(200, 0), statuses.get(503, 0), away))


def lines() -> list[str]:
    """The table as text, one line a row, columns aligned; empty when nothing was recorded."""
    if not ROWS:
        return []
    cells = [HEAD, *((r.fault, str(r.requests), str(r.answered), str(r.refused), f"{r.away:.2f}") for r in ROWS)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
