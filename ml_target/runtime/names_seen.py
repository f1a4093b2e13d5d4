"""The model names that Immich asked for, and what answered instead: each logged once."""

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

    def describe(self) -> list[dict[str, Any]]:
        return [{"task": task, "asked": asked, "served_by": by} for (task, asked), by in self._served.items()]
