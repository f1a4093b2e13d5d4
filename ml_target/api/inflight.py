"""The requests being served: how many, how long each may take, and what happens to them when the worker stops."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from ml_target.api.memory import dismiss
from ml_target.errors import Full, Late, Stopping, Unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

LINGER_S = 1.0
"""Seconds that cancelled work has to end. Some work cannot be interrupted; its client is answered anyway."""

POLL_S = 0.05

STOPPED = ("The worker stops before this request is done", "Send it again when it is back.")


class ClientGoneError(Exception):
    """The client closed the connection before it had its answer."""


@dataclass(eq=False, slots=True)
class _Call:
    """A request being served. `over`: done when it need not be waited for any more; `why`: it is given up."""

    over: "asyncio.Future[None]"
    why: Callable[[], Exception] | None = None

    def give_up(self, why: Callable[[], Exception]) -> None:
        if not self.over.done():
            self.why = why
            self.end()

    def end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class InFlight:
    """Runs requests, each with a deadline, and ends those whose client has gone, or that are left at the stop."""

    def __init__(self, most: int, timeout_s: float) -> None:
        self._most = most
        self._timeout_s = timeout_s
        self._running: dict[asyncio.Task[Any], _Call] = {}
        self._ended = False

    async def run(self, work: Coroutine[Any, Any, T], lost: "asyncio.Future[None] | None" = None) -> T:
        """The result of `work`. `lost`: done as soon as its client has gone.

        Raises Unavailable when there is no place, at the deadline, and when the worker stops; ClientGoneError.
        Work that cannot be interrupted then goes on by itself, and counts until it ends.
        """
        if self._ended or len(self._running) >= self._most:
            work.close()
            raise self._stopped() if self._ended else self._full()
        loop = asyncio.get_running_loop()
        running, call = loop.create_task(work), _Call(loop.create_future())
        self._running[running] = call
        running.add_done_callback(self._over)
        deadline = loop.call_later(self._timeout_s, call.give_up, self._late)

        def gone(_: object) -> None:
            call.give_up(ClientGoneError)

        if lost is not None:
            lost.add_done_callback(gone)
        try:
            await call.over
        finally:
            deadline.cancel()
            if lost is not None:
                lost.remove_done_callback(gone)
            running.cancel()  # once: a second time would end the wait for work that cannot be interrupted
        if not running.done():
            await asyncio.wait({running}, timeout=LINGER_S)
        if call.why is None or (call.why is not ClientGoneError and running.done() and not running.cancelled()):
            return running.result()
        raise call.why()

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
        for call in waiting:
            call.give_up(self._stopped)

    def _unanswered(self) -> list[_Call]:
        return [call for call in self._running.values() if not call.over.done()]

    def _over(self, running: asyncio.Task[Any]) -> None:
        self._running.pop(running).end()
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
