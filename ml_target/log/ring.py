"""The last lines of a worker's log, where the report finds them: in memory, not on disk or behind an endpoint.

A worker's log goes to standard error, and only what started it (Docker, systemd, a terminal) has it afterwards.
The report needs it too, when it runs in the same container or as the same user. More clients than these could reach
an endpoint: behind a proxy on the same host every client comes from the loopback address. A file on disk needs a
writable folder, stays behind, and others find it. So the lines are in an anonymous file in memory (memfd) that the
kernel shows among the process's open files: the same user and root can read it, and it ends with the process.

It keeps the first lines, which say what is on and off, and the last ones. For the time before a restart there are
`docker logs` and the report's `--log`.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from ml_target.log.lines import TextLines

PREFIX = "immich-ml-hailo-log-"
START, LIMIT, KEEP, LONGEST = 12_000, 96_000, 40_000, 2_000
"""Bytes: kept of the start; in all; kept of the end when it is full; of one line."""

GAP = b"[lines left out]\n"


class LogRing(logging.Handler):
    """Writes every line of the log into memory. Raises OSError where the system has no such files."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._file = os.memfd_create(f"{PREFIX}{port}")
        self._size = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode("utf-8", "replace")
            self._write(line if len(line) <= LONGEST else line[:LONGEST] + b" [cut]")
        except Exception:
            self.handleError(record)

    def _write(self, line: bytes) -> None:
        if self._size + len(line) + 1 > LIMIT:
            self._make_room()
        self._size += os.pwrite(self._file, line + b"\n", self._size)

    def _make_room(self) -> None:
        content = os.pread(self._file, self._size, 0)
        start = content[:START].rpartition(b"\n")[0] + b"\n"
        room = start + GAP + content[-KEEP:].partition(b"\n")[2]
        os.pwrite(self._file, room, 0)
        os.ftruncate(self._file, len(room))
        self._size = len(room)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        super().close()


def keep_last_lines(port: int) -> None:
    """From now on the log is kept for the report as well: as text, for people read it."""
    root = logging.getLogger()
    try:
        ring = LogRing(port)
    except (OSError, AttributeError) as error:  # not on Linux, or forbidden: a worker serves without it
        root.debug("the log is not kept for the report (%s)", error)
        return
    ring.setFormatter(TextLines())
    root.addHandler(ring)


def kept_logs(proc: Path = Path("/proc")) -> Iterator[tuple[int, int, str]]:
    """(port, process, lines) of every worker whose open files this user may see."""
    for folder in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        for link in _entries(folder / "fd"):
            port = _port(link)
            if port is not None and (text := _text(link)) is not None:
                yield port, int(folder.name), text


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # another user's, or the process has ended
        return []


def _port(link: Path) -> int | None:
    """The port of the worker that keeps its log there; None for any other file, and for one closed meanwhile."""
    try:
        target = str(link.readlink())
    except OSError:
        return None
    number = target.removeprefix(f"/memfd:{PREFIX}").removesuffix(" (deleted)")
    return int(number) if number.isdecimal() and target.startswith("/memfd:") else None


def _text(link: Path) -> str | None:
    try:
        return link.read_bytes().decode("utf-8", "replace")
    except OSError:
        return None
