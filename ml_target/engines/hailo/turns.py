"""How long a burst may take before it counts as lost, and when the card can have started it.

HailoRT often does not report a lost burst until its model is closed, and the model still claims to
be ready: the time the burst takes is the only early sign. It counts from when the card can have
started, which is when there are fewer earlier bursts in flight than cards.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ml_target.engines.cost import BurstCost

FACTOR = 6.0
"""A burst may take this many times its expected time. A hot card runs at half its clock, 200 MHz
(docs/hailort.md §7.4), and frames of other networks may run between its own."""

FLOOR_S = 3.0
"""The shortest limit: the host may be busy too."""

CEILING_S = 12.0
"""HailoRT's own pipelines give up after 10 s; a burst that has not ended by then never will."""

LOOK_S = 0.1
"""How often a waiting thread looks. Only time spent waiting counts, not the clock: while the whole process is stopped
(a call that holds the GIL, a suspended host), the answer may have arrived unseen."""


@dataclass(eq=False)
class Turn:
    """One burst in flight. `earlier`: bursts sent before it that have not ended. `since`: when it can have started."""

    since: float
    earlier: "set[Turn]" = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)


class Turns:
    """All bursts in flight to `cards` cards that run one each. `shared`: other programs use the cards as well."""

    def __init__(self, cards: int = 1, *, shared: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._cards = cards
        self._shared = shared
        self._clock = clock
        self._lock = threading.Lock()
        self._all: set[Turn] = set()

    def enter(self) -> Turn:
        """Registers a burst that is about to be sent."""
        with self._lock:
            turn = Turn(self._clock(), set(self._all))
            self._all.add(turn)
            return turn

    def leave(self, turn: Turn) -> None:
        """Removes a burst that has ended or was abandoned: the card can start the next."""
        now = self._clock()
        with self._lock:
            self._all.discard(turn)
            for other in self._all:
                if turn in other.earlier:
                    other.earlier.discard(turn)
                    other.since = now

    @property
    def running(self) -> bool:
        """Whether there is a burst whose end has not been told. Its thread may hear of that some milliseconds later."""
        with self._lock:
            return not all(turn.ended.is_set() for turn in self._all)

    def lasted(self, turn: Turn) -> float:
        """Seconds since the card can have started the burst."""
        return self._clock() - turn.since

    def limit(self, cost: BurstCost, frames: int) -> float:
        """Seconds that a burst of `frames` frames may take once the card can have started it."""
        expected = cost.expected(frames)
        if self._shared or not expected:  # unknown for the first burst, and with other programs' bursts between
            return CEILING_S
        return min(CEILING_S, max(FLOOR_S, FACTOR * expected))

    def wait(self, turn: Turn, limit: float) -> bool:
        """Waits until the burst has ended; False if it exceeds its limit."""
        since, waited = turn.since, 0.0
        while not turn.ended.wait(LOOK_S):
            if turn.since != since:
                since, waited = turn.since, 0.0
            elif len(turn.earlier) < self._cards:
                waited += LOOK_S
            if waited >= limit:
                return turn.ended.is_set()
        return True
