"""The model names that Immich asked for, and what answered instead, or why nothing did: each logged once."""

import logging
from typing import Any

from ml_target.log.words import quoted

log = logging.getLogger(__name__)

MAX_NAMES = 100
"""Names are free text from outside; beyond this number they are neither kept nor logged."""


class NamesSeen:
    """Filled on the event loop's thread."""

    def __init__(self) -> None:
        self._served: dict[tuple[str, str], str] = {}
        self._refused: dict[tuple[str, str], str] = {}

    def note(self, task: str, asked: str, served_by: str) -> None:
        """Logs the first request for a name that is not the served model's own."""
        key = (task, asked[:200])
        if key in self._served or len(self._served) >= MAX_NAMES:
            return
        self._served[key] = served_by
        if asked != served_by:
            log.warning(
                "Immich asks for %s as %s; it is answered by %s. Keep one worker for the whole library.",
                quoted(key[1]),
                task,
                served_by,
            )

    def refuse(self, task: str, asked: str, why: str) -> None:
        """Keeps a name that was refused, and why. The request's own line in the log says it each time."""
        if len(self._refused) < MAX_NAMES:
            self._refused[task, asked[:200]] = why

    def refused(self) -> list[dict[str, str]]:
        return [{"task": task, "asked": asked, "why": why} for (task, asked), why in self._refused.items()]

    def describe(self) -> list[dict[str, Any]]:
        return [{"task": task, "asked": asked, "served_by": by} for (task, asked), by in self._served.items()]
