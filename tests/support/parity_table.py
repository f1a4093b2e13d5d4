"""The figures that the parity tests measured, for the table at the end of the test session.

Use it as ``import parity_table as parity`` and
``parity.record("TinyCLIP", "picture cosine, least", value, "≥ 0.9999")``.
"""

from tables import Table

TABLE = Table("parity with the reference implementations", ("subject", "measure", "value", "bound"))


def record(subject: str, measure: str, value: str | float, bound: str) -> None:
    """Keeps a figure: what was compared, and in `bound` what the test demands of `value`, in words.

    Record before asserting, so that a figure out of bounds is in the table too.
    """
    TABLE.rows.append((subject, measure, value if isinstance(value, str) else f"{value:.7g}", bound))
