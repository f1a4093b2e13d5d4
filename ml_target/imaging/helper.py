"""The helper process: decodes what may take long, hold Python's lock or need much memory, one picture at a time.

Started by `outside.Helper` with one end of a socket, and of no use to anybody else. A request is a JSON object with two
files in memory: the upload, and the room for the pixels. The answer is a JSON object. It ends when the socket does.
"""

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ml_target.errors import Unavailable, WorkerError
from ml_target.imaging import raster

MESSAGE = 64 * 1024
SLACK = 16 * 2**20
"""Bytes beyond the estimate for a picture: Python's own, and what the allocator rounds up."""

STALE = 24 * 2**20
"""Bytes that a used process may keep; one that keeps more ends, as only that returns them to the system."""

_PR_SET_PDEATHSIG = 1
"""Linux's number of the option (linux/prctl.h)."""


def main() -> None:
    """`python3 -m ml_target.imaging.helper SOCKET PARENT`: numbers of the socket and of the worker's process."""
    _prepare(int(sys.argv[2]))
    fresh = resident()
    with socket.socket(fileno=int(sys.argv[1])) as line:
        while True:
            message, files, _, _ = socket.recv_fds(line, MESSAGE, 2)
            if not message:
                return
            answer = _served(json.loads(message), files)
            answer["ends"] = resident() > fresh + STALE
            line.send(json.dumps(answer).encode())
            if answer["ends"]:
                return


def _prepare(parent: int) -> None:
    """It never outlives the worker, is the first to be killed when memory runs out, and lets photos go first."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # systemd signals the whole unit; the worker ends this process itself
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.nice(10)


def _served(request: dict[str, Any], files: list[int]) -> dict[str, Any]:
    started = time.process_time()
    try:
        height, width = _decoded(request, files)
        answer: dict[str, Any] = {"height": height, "width": width}
    except WorkerError as error:
        answer = {"ours": isinstance(error, Unavailable), "reason": error.reason, "remedy": error.remedy}
    finally:
        for file in files:
            os.close(file)
    return {**answer, "cpu_ms": round((time.process_time() - started) * 1000)}


def _decoded(request: dict[str, Any], files: list[int]) -> tuple[int, int]:
    upload, pixels = files
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used() + request["cost"] + request["cost"] // 20 + SLACK
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
    try:
        with (
            os.fdopen(os.dup(upload), "rb") as stream,
            mmap.mmap(pixels, request["room"]) as mapped,
            memoryview(mapped) as room,
        ):
            return raster.read(stream, request["format"], room, request["cost"])
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def used() -> int:
    """Bytes that count against RLIMIT_DATA: private and writable."""
    return _status("VmData:")


def resident() -> int:
    """Bytes of memory that this process holds and no other does."""
    return _status("RssAnon:")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
