"""Lines of progress on standard error: for people, and for the report, which tells them from all else there."""

import sys

CHECKING, TIMING = "checking: ", "timing: "


def tell(kind: str, what: str) -> None:
    """`kind`: one of the beginnings above."""
    print(f"{kind}{what}", file=sys.stderr, flush=True)
