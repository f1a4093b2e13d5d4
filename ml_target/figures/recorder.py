"""Takes down what happens, on the event loop's thread alone: no locks, and a few dictionary entries a request.

Nothing of a picture, a query, a file's name or recognised text is taken down.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ml_target.errors import Reason
from ml_target.figures.observer import Fault, Observer, RecoveryKind
from ml_target.figures.ring import Ring
from ml_target.figures.totals import Totals
from ml_target.log.trace import Trace

KEPT = 50
"""Requests, faults and recoveries that are remembered one by one."""

NO_TASK = "none"
"""What a request counts as that was refused before its form said what it asks for."""

PAUSE_S = 60.0
"""Seconds without a picture after which an indexing run has ended."""


@dataclass(slots=True)
class Finished:
    """One request that was answered. `at`: seconds since the epoch; `stages`: milliseconds."""

    at: float
    id: str
    tasks: tuple[str, ...]
    picture: tuple[int, int] | None
    bytes: int
    stages: Mapping[str, float]
    total_ms: float
    outcome: int
    reason: Reason | None


@dataclass(slots=True)
class Run:
    """An indexing run: requests with a picture, one soon after the other. `photos`: those that were answered.

    `began`: seconds since the epoch; `first`, `last`: of the clock that never goes back.
    """

    began: float
    first: float
    last: float
    requests: int = 0
    photos: int = 0


@dataclass(slots=True)
class Recovery:
    """The device was lost at `at`, seconds since the epoch. `seconds`: until it was back, by a recovery of this `kind`;
    both None while it is not."""

    at: float
    engine: str
    first: float = field(repr=False)
    seconds: float | None = None
    kind: RecoveryKind | None = None


@dataclass(frozen=True, slots=True)
class FaultSeen:
    """What went wrong with a burst, at `at`, seconds since the epoch."""

    at: float
    network: str
    kind: Fault


class Recorder:
    """Ten minutes in steps, what happened last, and totals since the start.

    `clock`: seconds that never go back; `wall`: since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.wall = wall
        self.ring = Ring(clock)
        self.totals = Totals()
        self.tasks: dict[str, None] = {}
        self.networks: dict[str, str] = {}
        """Each network with its engine."""
        self.last: deque[Finished] = deque(maxlen=KEPT)
        self.faults: deque[FaultSeen] = deque(maxlen=KEPT)
        self.recoveries: deque[Recovery] = deque(maxlen=KEPT)
        self._run: Run | None = None

    def expect(self, tasks: Iterable[str]) -> None:
        """These tasks are shown even before anybody has asked for them."""
        self.tasks.update(dict.fromkeys(tasks))

    def device(self, engine: str) -> Observer:
        """What the arbiter of this engine's device tells."""
        return _Device(self, engine)

    @property
    def run(self) -> Run | None:
        """The indexing run that goes on."""
        run = self._run
        return run if run is not None and self.clock() - run.last <= PAUSE_S else None

    def request(self, trace: Trace, outcome: int, reason: Reason | None) -> None:
        """A request has ended. `outcome`: the status of the answer; `reason`: why it was refused or failed."""
        total, step = trace.elapsed_ms, self.ring.now()
        tasks = tuple(trace.tasks)
        for name in tasks or (NO_TASK,):
            self.totals.requests[name, outcome] += 1
        if reason is not None:
            self.totals.failures[reason] += 1
            step.failures[reason] = step.failures.get(reason, 0) + 1
        for name, prefix in trace.tasks.items():
            self.tasks.setdefault(name)
            of_task = step.task(name)
            if reason is not None:
                of_task.failed += 1
                continue
            self.totals.done(name, total / 1000)
            of_task.done += 1
            of_task.ms += total
            for stage, ms in trace.of(prefix):
                self.totals.stage(name, stage, ms / 1000)
                of_task.stages[stage] = of_task.stages.get(stage, 0.0) + ms
        if trace.pictured:
            self._picture(total / 1000, answered=reason is None)
            step.photos += reason is None
        self.last.append(
            Finished(self.wall(), trace.id, tasks, trace.picture, trace.bytes, trace.stages, total, outcome, reason)
        )

    def _picture(self, seconds: float, *, answered: bool) -> None:
        now, run = self.clock(), self.run
        if run is None:
            run = self._run = Run(self.wall() - seconds, now - seconds, now)
        run.last = now
        run.requests += 1
        run.photos += answered


class _Device(Observer):
    """Takes down what one device does."""

    def __init__(self, recorder: Recorder, engine: str) -> None:
        self._recorder = recorder
        self._engine = engine
        self._recovery: Recovery | None = None

    def queue(self, network: str) -> None:
        self._recorder.networks[network] = self._engine

    def waiting(self, network: str, frames: int) -> None:
        self._recorder.ring.waiting(network, frames)

    def burst(self, network: str, frames: int, seconds: float) -> None:
        self._recorder.ring.burst(network, frames, seconds)
        self._recorder.totals.burst(self._engine, network, frames, seconds)

    def fault(self, network: str, kind: Fault, seconds: float) -> None:
        self._recorder.ring.busy(network, seconds)
        self._recorder.totals.was_busy(self._engine, seconds)
        self._recorder.totals.faults[kind] += 1
        self._recorder.faults.append(FaultSeen(self._recorder.wall(), network, kind))

    def lost(self) -> None:
        self._recovery = Recovery(self._recorder.wall(), self._engine, self._recorder.clock())
        self._recorder.recoveries.append(self._recovery)

    def back(self, kind: RecoveryKind) -> None:
        if self._recovery is not None:
            self._recorder.totals.recoveries[self._engine, kind] += 1
            self._recovery.kind = kind
            self._recovery.seconds = self._recorder.clock() - self._recovery.first
