"""Makes text from outside fit for log lines and answers: short, and on one line."""

import json
from typing import Any


def short(text: str, most: int = 200) -> str:
    """The text, cut to `most` characters: it came from outside and goes into log lines and answers."""
    return text if len(text) <= most else f"{text[:most]}…"


def quoted(value: Any) -> str:
    """The value as one word: in JSON's quotes where it holds blanks, quotes or control characters; cut when long."""
    text = short(str(value), 1000)
    return text if text.isprintable() and not set(text) & set(' "=') else json.dumps(text)
