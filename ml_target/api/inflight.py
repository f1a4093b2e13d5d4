"""The requests being served: how many, how long each may take, and what happens to them when the worker stops."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ml_target.api.memory import dismiss
from ml_target.errors import Full, Late, Stopping, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

LINGER_S = 1.0
"""Seconds that cancelled work has to end. Some work cannot be interrupted; its client is answered anyway."""

POLL_S = 0.05

STOPPED = ("The worker stops before this request is done", "Send it again when it is back.")


class InFlight:
    """Runs requests, each with a deadline, and ends those that are left when the worker stops."""

    def __init__(self, most: int, timeout_s: float) -> None:
        self._most = most
        self._timeout_s = timeout_s
        self._running: dict[asyncio.Task[Any], asyncio.Future[None]] = {}
        self._ended = False

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`. Raises Unavailable when there is no place, at the deadline, and when the worker stops.

        Work that cannot be interrupted then goes on by itself, and counts until it ends.
        """
        if self._ended or len(self._running) >= self._most:
            work.close()
            raise self._stopped() if self._ended else self._full()
        running = asyncio.ensure_future(work)
        call_off = asyncio.get_running_loop().create_future()
        self._running[running] = call_off
        running.add_done_callback(self._over)
        try:
            await asyncio.wait({running, call_off}, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            in_time = running.done()
        finally:
            running.cancel()  # once: a second time would end the wait for work that cannot be interrupted
        if not in_time:
            await asyncio.wait({running}, timeout=LINGER_S)
        call_off.cancel()  # nobody waits for it any more
        if in_time or (running.done() and not running.cancelled()):
            return running.result()
        raise self._stopped() if self._ended else self._late()

    async def stop(self, patience_s: float, hurry: Callable[[], bool]) -> None:
        """Waits for the requests being served, up to `patience_s` or until `hurry()`, then refuses those left."""
        log.info("stopping, %d requests left", len(self._unanswered()))
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_s
        while self._unanswered() and loop.time() < until and not hurry():
            await asyncio.sleep(POLL_S)
        self._ended = True
        waiting = self._unanswered()
        if waiting:
            log.warning("%d requests are answered with 503, as the worker stops", len(waiting))
        for call_off in waiting:
            call_off.set_result(None)

    def _unanswered(self) -> "list[asyncio.Future[None]]":
        return [call_off for call_off in self._running.values() if not call_off.done()]

    def _over(self, running: asyncio.Task[Any]) -> None:
        self._running.pop(running, None)
        dismiss(running)

    def _stopped(self) -> Unavailable:
        return Stopping(*STOPPED)

    def _full(self) -> Unavailable:
        return Full(
            f"{self._most} requests are waiting already",
            "Lower the job concurrency in Immich, or raise MAX_WAITING.",
        )

    def _late(self) -> Unavailable:
        return Late(
            f"Not answered within {self._timeout_s:g} s",
            "Lower the job concurrency in Immich; REQUEST_TIMEOUT_S is the limit.",
        )
