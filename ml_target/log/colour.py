"""Colour in the log, where it goes to a terminal that supports it: errors in red, and lines that an event marks."""

import logging
from collections.abc import Mapping
from typing import TextIO

RED, PLAIN = "\x1b[31m", "\x1b[0m"


def takes_colour(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether escape sequences work there: it is a terminal, not a dumb one, and NO_COLOR is not set."""
    terminal = environment.get("TERM", "")
    return stream.isatty() and terminal not in ("", "dumb") and not environment.get("NO_COLOR")


class RedErrors(logging.StreamHandler):  # type: ignore[type-arg]
    """Errors in red; in other events the lines (counted from 0) that their `red` names: `extra={"red": {3}}`.

    It is a handler, so that other handlers get the lines without colour.
    """

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).split("\n")
        red = range(len(lines)) if record.levelno >= logging.ERROR else getattr(record, "red", ())
        return "\n".join(f"{RED}{line}{PLAIN}" if n in red else line for n, line in enumerate(lines))
