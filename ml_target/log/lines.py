"""The lines of the log: as text for people, or as JSON, one object a line, for what collects logs."""

import json
import logging
from datetime import datetime, timezone
from typing import Any

from ml_target.log.private import without_logins


class TextLines(logging.Formatter):
    """Lines without the passwords in URLs, also where a traceback or a library wrote them."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        return without_logins(super().format(record))


class JsonLines(logging.Formatter):
    """Time in UTC, level, name and message; the `fields` of a record as keys of their own, a traceback as `exception`.

    `event` of a record is its message here, where the rest of its text is the fields. Passwords in URLs are left out.
    """

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "name": record.name,
            "message": getattr(record, "event", None) or record.getMessage(),
            **fields,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        clean = {key: without_logins(value) if isinstance(value, str) else value for key, value in line.items()}
        return json.dumps(clean, ensure_ascii=False, default=str)
