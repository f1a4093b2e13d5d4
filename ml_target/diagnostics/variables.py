"""The settings in words: names, defaults, what they take. For `serve --help`."""

from dataclasses import Field, fields
from pathlib import Path
from textwrap import wrap
from typing import Any

from ml_target.config import PROJECT, Settings, setting_names, setting_text

WIDTH, INDENT = 100, 6
NO_VALUE = "?"
"""What no setting with a list or a range takes: its refusal names what is taken."""


def variables_text() -> str:
    """Two or more lines a setting: its variable with the default, then what it is for and what it takes."""
    lines = []
    for item in fields(Settings):
        names = " or ".join(setting_names(item.name))
        lines.append(f"  {names} (default: {_default(item.name)})")
        lines += (f"{'':{INDENT}}{line}" for line in wrap(_meaning(item), WIDTH - INDENT, break_on_hyphens=False))
    return "\n".join(lines)


def _default(attribute: str) -> str:
    value = getattr(Settings(), attribute)
    if isinstance(value, Path) and value.is_relative_to(PROJECT):
        return f"{value.relative_to(PROJECT)}/ in this project's folder"
    return setting_text(Settings(), attribute) or "none"


def _meaning(item: "Field[Any]") -> str:
    words = f"{item.metadata['help']}"
    if item.name == "log_level":  # its help is the list, and it takes anything with a warning
        return f"how much is logged: {words}"
    try:
        item.metadata["parse"](NO_VALUE)
    except ValueError as error:
        return f"{words}; {error}"
    return words
