"""The kernel's log, as far as this process may read it."""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PIECE, MAX_BYTES = 1 << 16, 1 << 24
"""Bytes of one read, which returns one record; and of all records, more than any kernel keeps."""

DMESG_S = 5
_STAMPED = re.compile(r"\[ *(\d+\.\d+)\] ?(.*)")


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `seconds`: since the host's start, None where unknown."""

    seconds: float | None
    text: str


def kernel_messages(root: Path = Path("/")) -> list[Message]:
    """Everything that the kernel still has, oldest first; never waits.

    From dmesg where the device may not be read: dmesg may have other rights. Raises OSError where neither can be read.
    """
    try:
        records = _records(root / "dev/kmsg")
    except OSError:
        told = _dmesg() if root == Path("/") else None
        if told is None:
            raise
        return [_of_dmesg(line) for line in told.splitlines()]
    # A line that begins with a blank is a continuation of the record above it.
    return [_of_record(line) for line in records.splitlines() if not line.startswith(" ")]


def _of_record(line: str) -> Message:
    """Of "6,339,5140900,-;the message": priority, number, microseconds, flags."""
    head, _, text = line.partition(";")
    fields = head.split(",")
    return Message(int(fields[2]) / 1e6 if len(fields) > 2 and fields[2].isdecimal() else None, text)


def _of_dmesg(line: str) -> Message:
    """Of "[    5.140900] the message"."""
    found = _STAMPED.match(line)
    return Message(float(found.group(1)), found.group(2)) if found else Message(None, line)


def _records(device: Path) -> str:
    """Everything that is in the kernel's buffer now. Raises OSError."""
    descriptor = os.open(device, os.O_RDONLY | os.O_NONBLOCK)
    parts: list[bytes] = []
    size = 0
    try:
        with suppress(BlockingIOError):  # the end: the next message is not there yet
            while size < MAX_BYTES:
                with suppress(BrokenPipeError):  # overwritten meanwhile: the next read gets the oldest one left
                    parts.append(os.read(descriptor, PIECE))
                    size += len(parts[-1])
                    if not parts[-1]:
                        break
    finally:
        os.close(descriptor)
    return b"".join(parts).decode("utf-8", "replace")


def _dmesg() -> str | None:
    program = shutil.which("dmesg")
    if program is None:
        return None
    try:
        done = subprocess.run([program], capture_output=True, timeout=DMESG_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")
