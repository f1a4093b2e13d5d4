"""How long a burst may take before it counts as lost, and since when the card can have been at it.

HailoRT often says nothing of a lost burst until its model is closed, and the model still claims to
be ready: the burst's own time is the only early sign. It runs from when the card can have begun,
which is when fewer bursts sent earlier are on their way than there are cards.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ml_target.engines.cost import BurstCost

FACTOR = 6.0
"""A burst may take so many times what it is expected to. A hot card runs at half its clock, 200 MHz
(docs/hailort.md §7.4), and frames of other networks may go between its own."""

FLOOR_S = 3.0
"""Never less: the host may be busy too."""

CEILING_S = 12.0
"""HailoRT's own pipelines give up after 10 s; a burst that has not ended by then never will."""

LOOK_S = 0.1
"""A waiting thread looks so often. Only what it waited counts, not what the clock says: while the whole process stands
still (a call that holds the GIL, a suspended host) the answer may be there and cannot be told."""


@dataclass(eq=False)
class Turn:
    """One burst on its way. `earlier`: those sent before it that have not ended. `since`: when it can have begun."""

    since: float
    earlier: "set[Turn]" = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)


class Turns:
    """All bursts on their way to `cards` cards that take one each. `shared`: other programs use the cards as well."""

    def __init__(self, cards: int = 1, *, shared: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._cards = cards
        self._shared = shared
        self._clock = clock
        self._lock = threading.Lock()
        self._all: set[Turn] = set()

    def enter(self) -> Turn:
        """A burst is about to be sent."""
        with self._lock:
            turn = Turn(self._clock(), set(self._all))
            self._all.add(turn)
            return turn

    def leave(self, turn: Turn) -> None:
        """It has ended or was given up: the card can begin with the next."""
        now = self._clock()
        with self._lock:
            self._all.discard(turn)
            for other in self._all:
                if turn in other.earlier:
                    other.earlier.discard(turn)
                    other.since = now

    def lasted(self, turn: Turn) -> float:
        """Seconds since the card can have begun."""
        return self._clock() - turn.since

    def limit(self, cost: BurstCost, frames: int) -> float:
        """Seconds that a burst of so many frames may take once the card can have begun."""
        expected = cost.expected(frames)
        if self._shared or not expected:  # another program's bursts are nobody's knowledge; nor are first ones
            return CEILING_S
        return min(CEILING_S, max(FLOOR_S, FACTOR * expected))

    def wait(self, turn: Turn, limit: float) -> bool:
        """Until the burst has ended; False when it has had its time."""
        since, waited = turn.since, 0.0
        while not turn.ended.wait(LOOK_S):
            if turn.since != since:
                since, waited = turn.since, 0.0
            elif len(turn.earlier) < self._cards:
                waited += LOOK_S
            if waited >= limit:
                return turn.ended.is_set()
        return True
