"""The whole report as one text for an issue: short enough, without personal details."""

import getpass
import os
import platform
import re
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from ml_target import __version__
from ml_target.diagnostics.redact import Redactor
from ml_target.diagnostics.report.log import TITLE as LOG
from ml_target.diagnostics.report.section import Section

TOTAL = 60_000
"""Characters; an issue takes 65,536."""

LEAST_LOG = 4000
SUMMARY_LINE = 300


def as_markdown(sections: Sequence[Section], made: datetime, redactor: Redactor) -> str:
    """First what is wrong and what is right, then the sections; without personal details, short enough for an issue."""
    for section in sections:
        section.text = redactor.clean(section.text)
        section.wrong = [_one_line(redactor.clean(words)) for words in section.wrong]
        section.right = [_one_line(redactor.clean(words)) for words in section.right]
    wrong = [words for section in sections for words in section.wrong]
    right = [words for section in sections for words in section.right]
    head = [
        f"# Report of immich-ml-hailo {__version__}, {made:%Y-%m-%d %H:%M} UTC",
        "",
        "Personal details are left out as far as a program can tell. Look through it before you post it.",
        "",
        f"**Wrong: {len(wrong)}**" if wrong else "**Nothing was found wrong.**",
        "",
        *(f"- {words}" for words in wrong),
        *(["", "**Right:**", "", *(f"- {words}" for words in right)] if right else []),
    ]
    others = [_block(section) for section in sections if section.title != LOG]
    logs = [section for section in sections if section.title == LOG]
    room = TOTAL - sum(map(len, ["\n".join(head), *others]))
    for section in logs:
        section.most = max(LEAST_LOG, min(section.most, room))
    return "\n".join(["\n".join(head), *others, *map(_block, logs)]) + "\n"


def _block(section: Section) -> str:
    """A heading and the verbatim text, in a fence longer than any inside it."""
    text = section.bounded()
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"\n## {section.title}\n\n{fence}text\n{text}\n{fence}"


def _one_line(words: str) -> str:
    """For a list: without line breaks and characters with a meaning in Markdown or HTML."""
    words = " ".join(words.split()).replace("->", "→").replace("<", "‹").replace(">", "›").replace("`", "'")
    return words if len(words) <= SUMMARY_LINE else f"{words[:SUMMARY_LINE]} …"


def redactor() -> Redactor:
    """A redactor for the names of this machine and of the current user."""
    hosts, users, homes = [platform.node(), os.environ.get("HOSTNAME", "")], [], [os.environ.get("HOME", "")]
    with suppress(OSError):
        hosts.append(socket.gethostname())
    with suppress(KeyError, OSError, ImportError):  # a container's user has no name
        users.append(getpass.getuser())
    users += [os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER", "USERNAME")]
    with suppress(RuntimeError):
        homes.append(str(Path.home()))
    users += [Path(home).name for home in homes if len(Path(home).parts) > 2]
    return Redactor(_some(hosts), _some(users), [home for home in homes if len(Path(home).parts) > 2])


def _some(names: Iterable[str]) -> list[str]:
    return [name for name in names if name]
