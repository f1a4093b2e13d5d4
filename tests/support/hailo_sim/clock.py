"""The clocks of a rig: real (scaled if wished) and virtual.

Virtual means: the time of the cards alone. It stands still while a card computes or a callback
runs, and jumps to the next event (a completion, a deadline of a waiting API call) when nobody
inside the simulator has anything to do. The host's own work takes no virtual time, and host
timers (asyncio, time.sleep) know nothing of it: the time of the cards does not wait for the
host unless `held()`.
"""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn, Protocol

_LIBC = ctypes.PyDLL(None)  # calls through PyDLL keep the GIL
LONGEST_HOLD = 30.0


def hold_for_ever() -> NoReturn:
    """What a deadlock with the GIL held looks like: no Python code of this process runs any more."""
    while True:
        _LIBC.sleep(3600)


class Clock(Protocol):
    """Simulated seconds. All methods but `spend` want the rig's lock held."""

    def now(self) -> float: ...

    def wait(self, ready: Callable[[], bool], deadline: float | None = None, *, actor: bool = False) -> bool:
        """Until `ready()` (True) or `deadline` (False). `actor`: a thread that entered with `enter`."""

    def enter(self) -> None:
        """A thread of the simulator starts; called by the one that starts it."""

    def leave(self) -> None:
        """A thread of the simulator ends."""

    def spend(self, seconds: float) -> None:
        """Lets simulated time pass inside a call that holds the GIL (docs/hailort.md §2.5)."""


class RealClock:
    """Wall time times `speed`. Calls that hold the GIL on a card really hold it here."""

    def __init__(self, lock: threading.Condition, speed: float = 1.0) -> None:
        self._lock = lock
        self._speed = speed
        self._start = time.monotonic()

    def now(self) -> float:
        return (time.monotonic() - self._start) * self._speed

    def wait(self, ready: Callable[[], bool], deadline: float | None = None, *, actor: bool = False) -> bool:
        while not ready():
            left = None if deadline is None else deadline - self.now()
            if left is not None and left <= 0:
                return False
            self._lock.wait(None if left is None else min(left / self._speed, threading.TIMEOUT_MAX))
        return True

    def enter(self) -> None: ...

    def leave(self) -> None: ...

    def spend(self, seconds: float) -> None:
        if seconds > 0:
            _LIBC.usleep(int(min(seconds / self._speed, LONGEST_HOLD) * 1e6))


@dataclass(eq=False)
class _Waiter:
    ready: Callable[[], bool]
    deadline: float | None


class VirtualClock:
    """Jumps from event to event; see the module's words on what that means."""

    def __init__(self, lock: threading.Condition) -> None:
        self._lock = lock
        self._now = 0.0
        self._running = 0
        self._held = 0
        self._waiters: list[_Waiter] = []

    def now(self) -> float:
        return self._now

    def wait(self, ready: Callable[[], bool], deadline: float | None = None, *, actor: bool = False) -> bool:
        waiter = _Waiter(ready, deadline)
        self._waiters.append(waiter)
        self._running -= actor
        try:
            while not ready():
                if deadline is not None and self._now >= deadline:
                    return False
                if not self._advance():
                    self._lock.wait()
            return True
        finally:
            self._waiters.remove(waiter)
            self._running += actor

    def enter(self) -> None:
        self._running += 1

    def leave(self) -> None:
        self._running -= 1
        self._lock.notify_all()

    def spend(self, seconds: float) -> None:
        if seconds > 0:
            with self._lock:
                self.wait(lambda: False, self._now + seconds)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Time stands still inside: for submitting several things at one moment."""
        with self._lock:
            self._held += 1
        try:
            yield
        finally:
            with self._lock:
                self._held -= 1
                self._lock.notify_all()

    def _advance(self) -> bool:
        """Jumps to the earliest deadline if nobody has anything to do. True if time moved."""
        if self._held or self._running or any(waiter.ready() for waiter in self._waiters):
            return False
        deadlines = [w.deadline for w in self._waiters if w.deadline is not None]
        if not deadlines or min(deadlines) <= self._now:
            return False
        self._now = min(deadlines)
        self._lock.notify_all()
        return True
