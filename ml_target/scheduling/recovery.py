"""Gets a lost device back, however long that takes; each arbiter has one of these for its device."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from ml_target.engines import LoadedNetwork
from ml_target.errors import EXIT_HUNG, BurstLost, CardHangs, DeviceLost, Unavailable, WorkerError
from ml_target.figures.observer import RECOVERIES, Observer, RecoveryKind
from ml_target.scheduling.queue import ModelQueue

log = logging.getLogger(__name__)

BACK_OFF_S = (0.0, 1.0, 2.0, 5.0, 10.0)
"""Seconds before each attempt to get a lost device back; the last one repeats."""

ANSWERED_S = 0.5
"""Seconds between answering all requests that the device hangs and asking the process to end."""

Recover = Callable[[LoadedNetwork], RecoveryKind]


class Recovery:
    """The attempts, one network after the other.

    `recover`: makes a network that lost a burst work again, blocking, in one of the `threads`, and says what that took;
    it may be called again after it has failed. `back`: is called when the device is back. `refuse_all`: answers every
    request with an error, as nothing will run in this process any more; `leave` then makes it end with a status.
    """

    def __init__(
        self,
        threads: Executor,
        recover: Recover | None,
        observer: Observer,
        *,
        back: Callable[[], None],
        refuse_all: Callable[[Unavailable], None],
        leave: Callable[[int], Any],
    ) -> None:
        self._threads = threads
        self._recover = recover
        self._observer = observer
        self._back = back
        self._refuse_all = refuse_all
        self._leave = leave
        self._lost: list[ModelQueue] = []
        self._attempts: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """True while the device is lost."""
        return self._attempts is not None

    def start(self, queue: ModelQueue, error: BurstLost) -> None:
        """The device lost a burst of this queue."""
        if queue not in self._lost:
            self._lost.append(queue)
        if self._attempts is None:
            log.error("%s; recovering it, requests wait meanwhile", error)
            self._observer.lost()
            self._attempts = asyncio.get_running_loop().create_task(self._get_back())

    async def _get_back(self) -> None:
        """Tries until it succeeds: a request waits as long as its own deadline allows, and then gets a 503."""
        attempt, kind = 0, RECOVERIES[0]
        while self._lost and self._recover is not None:
            await asyncio.sleep(BACK_OFF_S[min(attempt, len(BACK_OFF_S) - 1)])
            attempt += 1
            queue = self._lost[0]
            try:
                took = await asyncio.get_running_loop().run_in_executor(self._threads, self._recover, queue.network)
            except CardHangs as error:
                self._observer.fault(queue.name, "card_hangs", 0.0)
                await self._answer_and_leave(error)
                return
            except WorkerError as error:
                log.error("attempt %d to get the device back failed: %s", attempt, error)
            except Exception:
                log.exception("attempt %d to get the device back failed with an unexpected error", attempt)
            else:
                kind = max(kind, took, key=RECOVERIES.index)
                self._lost.remove(queue)
                attempt = 0 if self._lost else attempt
        log.warning("the device is back")
        self._lost.clear()
        self._attempts = None
        self._observer.back(kind)
        self._back()

    async def _answer_and_leave(self, error: CardHangs) -> None:
        """Nothing will run on the device in this process any more: answers all requests at once, then ends it."""
        log.critical("%s", error)
        self._refuse_all(
            DeviceLost("The card hangs and the worker restarts to free it", "Try again in a minute; its log says more.")
        )
        await asyncio.sleep(ANSWERED_S)
        self._leave(EXIT_HUNG)
