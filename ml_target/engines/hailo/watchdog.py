"""A bound on calls of HailoRT that may hold the GIL for ever.

`configure()` and `VDevice.release()` hold it for their whole duration, and a library thread that
wants to destroy a Python callback then waits for it: a deadlock in which no Python code runs, a
thread with `join(timeout)` included. What bounds them needs no GIL: faulthandler's own C thread
prints where every thread stands and ends the process. A process beside this one could do so too,
but it would have to be started, watched and ended, and could not print the stacks.

Nobody can be answered while the GIL is held, so requests that wait then lose their connection.
The engine therefore enters such a call only after everything that can hang without the GIL has
come back, and leaves in good order, with a 503 to everybody, where it has not (see `engine.py`).
"""

import faulthandler
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

WATCH_S = 30.0
"""Configuring takes some hundred milliseconds for the largest file, a release less; a control call gives up after one
second, and there are some of them. A call that is not back by then never will be."""

SLOWEST_READ = 4_000_000
"""Bytes a second: configuring reads the weights from the file once more where memory was too short to keep it. An SD
card gives 20 MB a second and more, a busy one (a database beside it, swapping) far less. A host that is slow must not
lose its worker at every start; a process that stands still may be away for a minute longer."""

STDERR = 2
"""The file descriptor itself: what Python calls stderr may be anything."""

REMEDY = (
    "whatever starts it (the container's restart policy) starts it again; if that does not help, power the host "
    "off and on. Please report the stacks"
)

LOOK_S = 0.1
"""`in_time` looks so often."""

_armed = threading.Lock()
"""Only one such timer can be armed in a process: who comes second is covered by the first."""


_told: list[str] = []


def in_time(event: threading.Event, seconds: float) -> bool:
    """Waits until the event is set; False when it has not been for so many seconds.

    Only what was waited counts, not what the clock says: a process that swapped or stood still for a while has not
    been waiting, and what it waits for stood still as well.
    """
    return any(event.wait(LOOK_S) for _ in range(max(1, round(seconds / LOOK_S))))


def with_file(file: Path) -> float:
    """Seconds for a call that may read this file."""
    try:
        size = file.stat().st_size
    except OSError:  # that it is gone is for HailoRT to say
        size = 0
    return WATCH_S + size // SLOWEST_READ


@contextmanager
def bounded(what: str, seconds: float | None = None) -> Iterator[None]:
    """Ends the process with status 1 when the block takes longer (`WATCH_S`). The log has said so before."""
    if not _armed.acquire(blocking=False):
        yield
        return
    seconds = WATCH_S if seconds is None else seconds
    if not _told:
        _told.append(what)
        log.info(
            "Should HailoRT hang while it is opened, configured or closed, this process ends with status 1, and the "
            "log with 'Timeout' and the stacks of all threads: %s.",
            REMEDY,
        )
    log.info("%s (for %g s at most)", what, seconds)
    faulthandler.dump_traceback_later(seconds, exit=True, file=STDERR)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        _armed.release()
