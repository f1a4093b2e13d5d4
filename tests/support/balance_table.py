"""What became of the requests when a worker behind the balancer went away, for the table at the end of the tests.

Use it as ``import balance_table`` and ``balance_table.record("killed", tally)``.
"""

from collections.abc import Mapping

OUTCOMES = (
    "answered by the first worker",
    "answered by the second worker",
    "refused by the first, sent to the second: answered",
    "inside the first when it went, sent to the second: answered",
    "inside the first when it went: lost",
    "its answer had begun: cut off, lost",
    "lost before it had reached any worker",
)
"""Every request is in one of these."""

TABLE: dict[str, Mapping[str, int]] = {}


def record(event: str, tally: Mapping[str, int]) -> None:
    """Keeps the tally of an event, by outcome."""
    assert set(tally) <= set(OUTCOMES)
    TABLE[event] = tally


def lines() -> list[str]:
    """The table as text: an outcome a line, an event a column; empty when nothing was recorded."""
    if not TABLE:
        return []
    cells = [("8 clients; the first worker is …", *TABLE)]
    cells += [(outcome, *(str(tally.get(outcome, 0)) for tally in TABLE.values())) for outcome in OUTCOMES]
    widths = [max(len(row[column]) for row in cells) for column in range(len(TABLE) + 1)]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
