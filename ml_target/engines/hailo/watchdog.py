"""A time limit for calls of HailoRT that may hold the GIL forever.

`configure()` and `VDevice.release()` hold it for their whole duration, and a library thread that
wants to destroy a Python callback then waits for it: a deadlock in which no Python code runs, not
even a thread with `join(timeout)`. A control call holds it until the driver returns. The limit must
not need the GIL: faulthandler's own C thread prints every thread's stack and ends the process. A
separate process could end it too, but would have to be started, watched and ended itself, and could
not print the stacks.

No request can be answered while the GIL is held, so waiting requests then lose their connection.
The engine therefore makes such a call only after everything that can hang without the GIL has
returned; if it has not, the process exits cleanly, with a 503 for every request (see `engine.py`).
"""

import faulthandler
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

WATCH_S = 30.0
"""Configuring takes a few hundred milliseconds for the largest file, a release less; a control call times out after one
second, and there are several of them. A call that has not returned by then never will."""

SLOWEST_READ = 4_000_000
"""Bytes per second. Configuring reads the weights from the file again if it has been dropped from memory. An SD card
reads at least 20 MB per second, a busy one (a database beside it, swapping) far less. A slow host must not lose its
worker at every start; in exchange, a hung process may last a minute longer."""

STDERR = 2
"""The file descriptor itself: Python's sys.stderr may be anything."""

REMEDY = (
    "whatever starts it (the container's restart policy) starts it again; if that does not help, power the host "
    "off and on. Please report the stacks"
)

LOOK_S = 0.1
"""How often `in_time` looks."""

_armed = threading.Lock()
"""A process can have only one such timer: a second call is covered by the first one's."""


_announced: list[str] = []


def in_time(event: threading.Event, seconds: float) -> bool:
    """Waits until the event is set; False if it is not set within `seconds`.

    Only time spent waiting counts, not the clock: while a process swapped or was stopped it was not waiting, and what
    it waits for was stopped as well.
    """
    return any(event.wait(LOOK_S) for _ in range(max(1, round(seconds / LOOK_S))))


def with_file(file: Path) -> float:
    """Seconds for a call that may read this file."""
    try:
        size = file.stat().st_size
    except OSError:  # HailoRT will report the missing file
        size = 0
    return WATCH_S + size // SLOWEST_READ


@contextmanager
def bounded(what: str, seconds: float | None = None, level: int = logging.INFO) -> Iterator[None]:
    """Ends the process with status 1 if the block takes longer than `seconds` (default: `WATCH_S`).

    Logs this first, with `level`.
    """
    if not _armed.acquire(blocking=False):
        yield
        return
    seconds = WATCH_S if seconds is None else seconds
    if not _announced:
        _announced.append(what)
        log.info(
            "Should HailoRT hang while it is opened, configured, asked or closed, this process ends with status 1, "
            "and the log with 'Timeout' and the stacks of all threads: %s.",
            REMEDY,
        )
    log.log(level, "%s (for %g s at most)", what, seconds)
    faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        _armed.release()
