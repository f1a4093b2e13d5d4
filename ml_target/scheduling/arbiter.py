"""Decides whose burst goes next: one arbiter for each device, the owner of all its queues.

A burst is what has accumulated for one model, across requests. Interactive work goes first, within bounds; the others
take turns, so none starves. How large a burst should be and whether it waits for work that is known to come is weighed
in `plan.py`; it never waits longer than the time that this may save. Where the device has a queue of its own, the next
burst is sent just before the running one is expected to end: late enough to be as full as it can be, early enough for
the device never to be idle. All of it happens on the event loop's thread, so there are no locks, and all time is the
event loop's: its clock, its timers, its sleep. The tests run it on a loop with virtual time.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ml_target.engines import LoadedNetwork
from ml_target.errors import BurstLost, EngineFault, Unavailable
from ml_target.figures.observer import Fault, Observer
from ml_target.scheduling.queue import Entry, ModelQueue
from ml_target.scheduling.recovery import Recover, Recovery

log = logging.getLogger(__name__)

INTERACTIVE_IN_A_ROW = 3
"""Interactive bursts that may pass waiting bulk work before a bulk burst goes."""

PASSED_BY_FULL = 8
"""Turns that a partly filled burst may lose to full ones: meanwhile it fills, and no model starves."""

LEAD_S = 0.003
LEAD_SHARE = 0.04
"""How long before the expected end of a burst the next one is sent: `LEAD_S`, in which it is handed over, and for what
the estimate may be off `LEAD_SHARE` of the burst. A device found idle costs more than frames that come too late."""

BUSY_DECAY = 0.97
"""How much weight a burst keeps with each later one when it is asked how busy the device is: about thirty count."""

IDLE_BURSTS = 2
"""A pause before a burst counts for at most this many times the burst: a night without work, or the time until
the first burst, says nothing of how busy the device is while there is work."""


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(eq=False)
class _Running:
    """A burst on the device. `own_lane`: interactive work, in the lane of its own. `follows`: every lane was taken.

    `begun`: when the device began with it; one that follows `waits` until another has ended.
    """

    queue: ModelQueue
    burst: list[Entry]
    begun: float
    expected: float
    own_lane: bool
    follows: bool
    waits: bool


class Arbiter:
    """Runs bursts on one device.

    `lanes`: bursts at a time. `own_lane`: interactive work has an extra lane of its own, beside those that nothing else
    wants.
    `patient`: whether fuller bursts save anything on this device. `ahead`: the device keeps one more burst
    in a queue of its own. `recover`: makes a network that lost a burst work again; `leave`: makes the process end with
    a status (both: `Recovery`).
    `observer`: is told what happens.
    """

    def __init__(
        self,
        lanes: int,
        *,
        own_lane: bool = False,
        patient: bool = False,
        ahead: bool = False,
        recover: Recover | None = None,
        leave: Callable[[int], Any] = os._exit,
        observer: Observer | None = None,
    ) -> None:
        self._observer = observer or Observer()
        self._threads = ThreadPoolExecutor(lanes + own_lane + ahead, thread_name_prefix="device")
        self._lanes = lanes
        self._own_lane = own_lane
        self._patient = patient
        self._ahead = ahead
        self._recovery = Recovery(
            self._threads, recover, self._observer, back=self.wake, refuse_all=self._refuse_all, leave=leave
        )
        self._queues: list[ModelQueue] = []
        self._running: list[_Running] = []
        self._last_end = 0.0
        self._worked = self._passed = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._interactive_in_a_row = 0
        self._timer: asyncio.TimerHandle | None = None
        self._woken: asyncio.AbstractEventLoop | None = None
        self._arriving = 0

    def queue(self, network: LoadedNetwork, name: str, *, interactive: bool = False) -> ModelQueue:
        """A queue for one more model."""
        busy = self._busy if self._patient else None
        queue = ModelQueue(self.wake, network, name, interactive=interactive, busy=busy, lanes=self._lanes)
        self._queues.append(queue)
        self._observer.queue(name)
        return queue

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """A request's body is arriving: it is not known yet what it asks for."""
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1
            if any(queue.waiting for queue in self._queues):  # one of them may have hoped for it
                self.wake()

    @property
    def ready(self) -> bool:
        """False while a lost device is being recovered."""
        return not self._recovery.running

    def wake(self) -> None:
        """Something has changed: looks for a burst to send, once, when the running callback has ended."""
        loop = asyncio.get_running_loop()
        if self._woken is not loop:  # a loop that has ended may have dropped its call
            self._woken = loop
            loop.call_soon(self._pump)

    def close(self) -> None:
        """Ends the threads when their bursts have ended. Waiting frames stay unanswered."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    # ------------------------------------------------------------------- turns

    def _pump(self) -> None:
        self._woken = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for waiting in self._queues:
            waiting.take_stock()
        self._tell_waiting()
        while self.ready and (queue := self._next()) is not None:
            burst = queue.take(_now())
            own_lane = queue.interactive and self._own_lane_is_free
            follows = sum(not each.own_lane for each in self._running) >= self._lanes
            expected = queue.expected(len(burst), follows)
            running = _Running(queue, burst, _now(), expected, own_lane, follows, waits=follows)
            self._running.append(running)
            task = asyncio.get_running_loop().create_task(self._run(running))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        for queue in self._queues:
            if len(queue.waiting) != queue.told:
                queue.told = len(queue.waiting)
                self._observer.waiting(queue.name, queue.told)

    def _next(self) -> ModelQueue | None:
        """The queue whose burst goes now; it moves to the end of the line."""
        waiting = [q for q in self._queues if q.waiting and self._has_lane(q)]
        interactive = [q for q in waiting if q.interactive]
        bulk = [q for q in waiting if not q.interactive]
        now = _now()
        patience = {id(q): q.patience(now, self._arriving) for q in bulk}
        ready = [q for q in bulk if patience[id(q)] <= 0]
        # Only work that is ready to go counts as passed, and only it may hold up interactive work.
        passed = self._interactive_in_a_row if ready else 0
        first = (self._own_lane_is_free or not ready) if self._own_lane else passed < INTERACTIVE_IN_A_ROW
        if interactive and first:
            self._interactive_in_a_row = passed + 1
            return self._to_the_end(interactive[0])
        if ready:
            self._interactive_in_a_row = 0
            return self._to_the_end(self._fullest_turn(ready))
        if patience:
            self._wake_in(min(patience.values()))
        return None

    def _fullest_turn(self, ready: list[ModelQueue]) -> ModelQueue:
        """The first in line; where fuller bursts pay, a full one passes partly filled ones a few times."""
        chosen = ready[0]
        for queue in ready:  # a short burst that ends requests goes first: their clients are back for the next one
            if queue.behind and queue.next_seconds < chosen.next_seconds:
                chosen = queue
        if self._patient and chosen.passed < PASSED_BY_FULL:
            chosen = next((q for q in ready if len(q.waiting) >= q.most), chosen)
        for queue in ready:
            queue.passed = 0 if queue is chosen else queue.passed + 1
        return chosen

    def _has_lane(self, queue: ModelQueue) -> bool:
        if queue.interactive and self._own_lane:
            return self._own_lane_is_free or len(self._running) < self._lanes
        shared = [r for r in self._running if not r.own_lane]
        if len(shared) < self._lanes:
            return True
        if not self._ahead or len(shared) > self._lanes or not all(r.expected for r in shared):
            return False
        first = min(shared, key=lambda r: r.begun + r.expected)
        lead = LEAD_S + LEAD_SHARE * first.expected
        early = first.begun + first.expected - lead - _now()
        if early > 0:
            self._wake_in(early)
        return early <= 0

    @property
    def _own_lane_is_free(self) -> bool:
        return self._own_lane and not any(r.own_lane for r in self._running)

    def _wake_in(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is None or self._timer.when() > loop.time() + seconds:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(seconds, self.wake)

    def _to_the_end(self, queue: ModelQueue) -> ModelQueue:
        self._queues.remove(queue)
        self._queues.append(queue)
        return queue

    # ------------------------------------------------------------------ bursts

    async def _run(self, running: _Running) -> None:
        loop = asyncio.get_running_loop()
        queue, burst = running.queue, running.burst
        fault: Fault | None = None
        try:
            outputs = await loop.run_in_executor(self._threads, queue.network.run, [e.values for e in burst])
        except BurstLost as error:
            fault = "burst_lost"
            queue.put_back(burst, error)
            self._recovery.start(queue, error)
        except EngineFault as error:
            fault = "frame_failed"
            queue.try_alone(burst, error)
        except Unavailable as error:
            fault = "untrusted"
            queue.fail(burst, error)
        except Exception as error:
            fault = "unexpected"
            log.exception("%s failed with an unexpected error", queue.name)
            queue.fail(burst, EngineFault(f"{queue.name} failed ({type(error).__name__})", "The log has the details."))
        else:
            seconds = _now() - running.begun
            queue.deliver(burst, outputs, seconds, running.follows)
            self._observer.burst(queue.name, len(burst), seconds)
        finally:
            if fault is not None:
                self._observer.fault(queue.name, fault, _now() - running.begun)
            self._running.remove(running)
            queue.back(burst, _now())
            if not running.own_lane:
                self._count(running, _now())
            self.wake()

    def _count(self, running: _Running, now: float) -> None:
        """Counts a burst that has ended for how busy the device is; one that was sent ahead begins in its place."""
        worked, idle = now - running.begun, max(0.0, running.begun - self._last_end)
        self._worked = self._worked * BUSY_DECAY + worked
        self._passed = self._passed * BUSY_DECAY + worked + min(idle, IDLE_BURSTS * worked)
        self._last_end = now
        for each in self._running:
            if each.waits:
                each.begun, each.waits = now, False
                break

    def _busy(self) -> float:
        """The share of the time that the device worked, lately."""
        return self._worked / self._passed if self._passed else 1.0

    def _refuse_all(self, refusal: Unavailable) -> None:
        for queue in self._queues:
            queue.refuse(refusal)
        for running in self._running:
            running.queue.fail(running.burst, refusal)
