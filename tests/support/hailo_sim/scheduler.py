"""The model scheduler's decisions, without threads and without a clock (docs/hailort.md §5.2, §5.5)."""

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import Any

from hailo_sim.costs import Cost

DEFAULT_PRIORITY = 16


@dataclass(eq=False, slots=True)
class CoreOp:
    """One (network group, content, batch size, power mode) on a device: one FIFO for all its instances.

    `burst`: frames a run takes at most. `timeout`, seconds: 0 means "always over" (§5.1).
    """

    name: str
    cost: Cost
    contexts: int
    batch: int
    queue_size: int
    burst: int
    fifo: deque[Any] = field(default_factory=deque)
    timeout: float = 0.0
    threshold: int = 0
    priority: int = DEFAULT_PRIORITY
    last_run: float = 0.0

    @property
    def dyn(self) -> bool:
        """Runs bursts of whatever is there, all completing together."""
        return self.contexts > 1 and self.batch > 1

    def over_timeout(self, now: float) -> bool:
        return self.timeout < inf and now - self.last_run >= self.timeout


@dataclass(eq=False, slots=True)
class Card:
    """State of one physical device. `free_at`: when what it was given is done."""

    id: str
    current: CoreOp | None = None
    hw_batch: int = 0
    ongoing: int = 0
    frames_left: int = 0
    free_at: float = 0.0
    busy_until: float = 0.0
    position: dict[int, int] = field(default_factory=dict)

    def clear(self) -> None:
        """Forgets what it ran, as opening the device does."""
        self.current, self.hw_batch, self.ongoing, self.frames_left = None, 0, 0, 0
        self.free_at = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """A decision: these frames, taken from the FIFO, complete at `dues` on `card`."""

    card: Card
    core_op: CoreOp
    frames: tuple[Any, ...]
    start: float
    dues: tuple[float, ...]
    switched: bool


@dataclass(slots=True)
class Scheduler:
    """`core_ops` in the order of configuration. `idle_optimisation`: off with HAILO_DISABLE_IDLE_OPT=1 (§5.3)."""

    core_ops: list[CoreOp] = field(default_factory=list)
    idle_optimisation: bool = True

    def decide(self, card: Card, now: float) -> Run | None:
        """One pass for one card; again after each that gave something."""
        return self._stream(card, now) or self._switch(card, now)

    def next_timer(self, now: float) -> float:
        """The nearest moment at which a core-op with a timeout becomes due."""
        timers = (c.last_run + c.timeout for c in self.core_ops if c.fifo and 0 < c.timeout < inf)
        return min((t for t in timers if t > now), default=inf)

    def _stream(self, card: Card, now: float) -> Run | None:
        """Step 1: the current core-op, if it streams, sends on without a switch."""
        current = card.current
        if current is None or current.dyn or _ready(current, card) < 1 or self._should_stop(card, current, now):
            return None
        chunk = 1 if self.idle_optimisation else max(1, min(current.threshold, _ready(current, card)))
        card.frames_left = max(0, card.frames_left - chunk)
        return _send(card, current, chunk, now, now, switched=False)

    def _should_stop(self, card: Card, current: CoreOp, now: float) -> bool:
        others = (c for c in self.core_ops if c is not current and c.priority >= current.priority)
        return card.frames_left == 0 and any(_qualifies(c, card, now, strict=True) for c in others)

    def _switch(self, card: Card, now: float) -> Run | None:
        """Steps 2 and 3: only an idle device chooses; the winner runs."""
        if card.ongoing:
            return None
        winner = self._choose(card, now, strict=True)
        if winner is None and self.idle_optimisation:
            winner = self._choose(card, now, strict=False)
        if winner is None:
            return None
        frames = min(_ready(winner, card), winner.burst)
        hw_batch = frames if winner.dyn else 1
        switched = winner is not card.current
        start = max(now, card.free_at) + (winner.cost.switch if switched else 0.0)
        card.current, card.hw_batch = winner, hw_batch
        card.frames_left = max(0, winner.burst - frames)
        winner.last_run = now
        return _send(card, winner, frames, now, start, switched=switched)

    def _choose(self, card: Card, now: float, *, strict: bool) -> CoreOp | None:
        for priority in sorted({c.priority for c in self.core_ops}, reverse=True):
            ring = [c for c in self.core_ops if c.priority == priority]
            first = card.position.get(priority, 0)
            for step in range(len(ring)):
                index = (first + step) % len(ring)
                if _qualifies(ring[index], card, now, strict=strict):
                    card.position[priority] = index + 1
                    return ring[index]
        return None


def _ready(core_op: CoreOp, card: Card) -> int:
    taken = card.ongoing if core_op is card.current else 0
    return min(len(core_op.fifo), core_op.queue_size - taken)


def _qualifies(core_op: CoreOp, card: Card, now: float, *, strict: bool) -> bool:
    over = len(core_op.fifo) >= core_op.threshold > 0 or core_op.over_timeout(now)
    return _ready(core_op, card) > 0 and (not strict or over)


def _send(card: Card, core_op: CoreOp, count: int, now: float, start: float, *, switched: bool) -> Run:
    frames = tuple(core_op.fifo.popleft() for _ in range(count))
    dues = _dues(card, core_op.cost, core_op, count, start)
    card.ongoing += count
    card.free_at = dues[-1]
    return Run(card, core_op, frames, now, dues, switched)


def _dues(card: Card, cost: Cost, core_op: CoreOp, count: int, start: float) -> tuple[float, ...]:
    """When each frame completes (§5.5): together, one by one, or streamed behind the first."""
    if core_op.dyn:
        return (max(start, card.free_at) + cost.overhead + count * cost.per_frame,) * count
    dues = []
    last = card.free_at
    for _ in range(count):
        if core_op.contexts > 1:
            last = max(start, last) + cost.overhead + cost.per_frame
        else:
            last = max(start + cost.latency, last + cost.per_frame)
        dues.append(last)
    return tuple(dues)


# ------------------------------------------------------- without the scheduler


def decide_manually(card: Card, active: CoreOp | None, now: float) -> Run | None:
    """docs/hailort.md §5.4: only the activated core-op runs; several contexts wait for a whole batch."""
    if active is None:
        return None
    count = active.batch if active.contexts > 1 and active.batch > 1 else 1
    if card.ongoing and (count > 1 or card.ongoing >= active.queue_size):
        return None
    if len(active.fifo) < count:
        return None
    switched = active is not card.current
    start = max(now, card.free_at) + active.cost.switch if switched else now
    card.current = active
    return _send(card, active, count, now, start, switched=switched)
