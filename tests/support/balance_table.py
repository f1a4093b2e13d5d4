"""What became of the requests when a worker behind the balancer went away, for the table at the end of the tests.

Use it as ``import balance_table`` and ``balance_table.record("killed", tally)``.
"""

from collections.abc import Mapping

from tables import Table

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

TABLE = Table(
    "requests behind HAProxy when a worker goes away",
    ("8 clients; the first worker is …", *OUTCOMES),
    turned=True,
    numbers=True,
)


def record(event: str, tally: Mapping[str, int]) -> None:
    """Keeps the tally of an event, by outcome."""
    assert set(tally) <= set(OUTCOMES)
    TABLE.rows.append((event, *(str(tally.get(outcome, 0)) for outcome in OUTCOMES)))
