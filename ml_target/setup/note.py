"""Notes in the project's folder: what the last container had, should it be removed by hand; what `serve` has asked."""

import re
from pathlib import Path

from ml_target.setup.settings import VALUE, words_in
from ml_target.setup.steps import Plan, Refusal, Write, say

NAME = ".setup-settings"
LINE = re.compile(rf"([A-Z0-9_]+={VALUE}( |$))+")


def read(project: Path, name: str = NAME, of: str = "the settings of the last container") -> str:
    """The settings that it holds, in a line; "" where there is no note. Raises Refusal for one that is damaged."""
    note = project / name
    if not note.exists():
        return ""
    what = f"{note}, {of},"
    try:
        line = (note.read_text(encoding="utf-8").splitlines() or [""])[0]
    except (OSError, UnicodeDecodeError):
        raise Refusal(f"{what} cannot be read.", f"Make it readable, or forget them: rm -rf '{note}'") from None
    if not LINE.fullmatch(line) or not re.fullmatch("[A-Za-z0-9_,]+", words_in(line).get("CLIP_BACKEND", "")):
        raise Refusal(
            f"{what} is damaged.", f"Delete it, then run this again with the settings you want: rm -f '{note}'"
        )
    return line


def write(project: Path, line: str) -> Plan[None]:
    """Of the container that was started."""
    note = project / NAME
    if note.is_file() and note.read_text(encoding="utf-8", errors="replace") == f"{line}\n":
        return
    if (yield Write(str(note), f"{line}\n")).code:
        yield say(
            f"(the settings could not be kept in {note}; only the container has them, so do not remove it by hand)"
        )
