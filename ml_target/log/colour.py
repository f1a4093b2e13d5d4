"""Colour in the log, where it goes to a terminal that takes it: errors in red, and what an event marks as such."""

import logging
from collections.abc import Mapping
from typing import TextIO

RED, PLAIN = "\x1b[31m", "\x1b[0m"


def takes_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether escape sequences do any good there: a terminal that is not dumb, and nobody has said NO_COLOR."""
    terminal = environment.get("TERM", "")
    return stream.isatty() and terminal not in ("", "dumb") and not environment.get("NO_COLOR")


class RedErrors(logging.Formatter):
    """Errors in red; of other events the lines (counted from 0) that their `red` names: `extra={"red": {3}}`."""

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).split("\n")
        red = range(len(lines)) if record.levelno >= logging.ERROR else getattr(record, "red", ())
        return "\n".join(f"{RED}{line}{PLAIN}" if n in red else line for n, line in enumerate(lines))
