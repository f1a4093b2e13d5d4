"""What the fault tests saw, for the table at the end of the test session.

Use it as ``import fault_table`` and ``fault_table.record("dead pipeline", tally.answered, watch.away)``.
"""

from collections.abc import Mapping

from tables import Table

TABLE = Table(
    "faults of the simulated card, 8 clients in flight",
    ("fault, 8 clients in flight", "requests", "200", "503", "seconds not ready"),
    numbers=True,
)


def record(fault: str, statuses: Mapping[int, int], away: float) -> None:
    """Keeps what came of a fault.

    `statuses`: how many answers had which status; `away`: seconds from the first /ping that was not
    answered ready to the last one.
    """
    counts = (sum(statuses.values()), statuses.get(200, 0), statuses.get(503, 0))
    TABLE.rows.append((fault, *map(str, counts), f"{away:.2f}"))
