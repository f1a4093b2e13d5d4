"""Runs a part of the report in a process of its own: it may hang in the driver forever, or crash."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ml_target.config import PROJECT

Tell = Callable[[str], None]
"""Takes a line of progress."""

GRACE_S = 5.0
"""How long to wait for a process to end after each signal: one that hangs in the driver may not end at all."""

OUTPUT = 200_000
"""How many bytes of a process's output are kept, from the end."""

LINE = 65_536
"""How many bytes of a line are read at once."""

SACRIFICE = "1000"
"""oom_score_adj: if memory runs out, the kernel kills this process instead of the worker that is serving."""


_running: "set[subprocess.Popen[bytes]]" = set()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a process ended. `code` None: it was stopped at its time limit. `err`: without lines of progress.

    `seconds`: how long it took.
    """

    code: int | None
    out: str
    err: str
    seconds: float

    @property
    def ended(self) -> str:
        """How it ended, in words; "" if it exited by itself."""
        if self.code is None:
            return f"stopped after {self.seconds:.0f} s without an end"
        if self.code < 0:
            try:
                name = signal.Signals(-self.code).name
            except ValueError:
                name = f"signal {-self.code}"
            return f"ended by {name}: it crashed, or memory ran out"
        return ""


def run_module(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    seconds: float,
    tell: Tell,
    progress: str = "",
) -> Outcome:
    """`python -m module` in a process of its own; standard error's lines that begin with `progress` go to `tell` alone.

    The module may hang in the driver forever or crash; this process is not affected.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-X", "faulthandler", "-m", module, *arguments],
        env=_on_path(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    _running.add(process)
    _spare_the_host(process.pid)
    assert process.stdout is not None
    assert process.stderr is not None
    out, err = _Reader(process.stdout), _Reader(process.stderr, tell, progress)
    code: int | None = None
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        _stop(process)
    finally:
        _running.discard(process)
    taken = time.monotonic() - started
    return Outcome(code, out.text(), err.text(), taken)


def stop_running() -> None:
    """Ends every process that is still running: nothing waits for it any more."""
    for process in list(_running):
        _stop(process)


def _on_path(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with this project on PYTHONPATH, whatever the current folder."""
    path = environment.get("PYTHONPATH", "")
    return {**environment, "PYTHONPATH": os.pathsep.join(filter(None, (path, str(PROJECT))))}


def _spare_the_host(pid: int) -> None:
    """No core file if it crashes; and if memory runs out, it is killed before the worker."""
    with suppress(OSError):  # it has ended already
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        Path(f"/proc/{pid}/oom_score_adj").write_text(SACRIFICE, encoding="ascii")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    for number in (signal.SIGABRT, signal.SIGKILL):  # at the first one faulthandler prints where it hangs
        try:
            os.killpg(process.pid, number)
            process.wait(GRACE_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


class _Reader:
    """Reads a stream to its end in a thread, and keeps the last part of it, without lines of progress."""

    def __init__(self, stream: IO[bytes], tell: Tell | None = None, progress: str = "") -> None:
        self._kept = bytearray()
        self._tell = tell
        self._progress = progress
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[bytes]) -> None:
        for line in iter(lambda: stream.readline(LINE), b""):
            words = line.decode("utf-8", "replace").strip()
            if self._tell is not None and self._progress and words.startswith(self._progress):
                self._tell(words)
                continue
            self._kept += line
            if len(self._kept) > 2 * OUTPUT:
                del self._kept[:-OUTPUT]
        stream.close()

    def text(self) -> str:
        """The output. Does not wait long: children that a process left behind may keep its streams open."""
        self._thread.join(GRACE_S)
        return bytes(self._kept[-OUTPUT:]).decode("utf-8", "replace").strip("\n")
