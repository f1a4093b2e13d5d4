"""How large the next burst should be, and whether to wait for it: arithmetic without a clock, a queue or a state.

The model behind it is a closed one, as clients ask again when they are answered: a fixed number of frames goes round,
prepared by the host one each `gap` seconds, and a burst of n takes `overhead + n * per_frame`. Beside the frames' own
time, a round costs

- with all of them in one burst: one overhead, and the preparing, as host and card work in turns;
- in two groups: two overheads, but one group is prepared while the other is on the card.

So one burst for all pays while its frames are prepared in less than an overhead. More than two groups pay only where
the card has time to spare: then small bursts keep the host from standing still until a large one ends.
"""

import math
from dataclasses import dataclass

IN_DOUBT = 1.25
"""A burst is cut into groups only where one for all would cost this many times as much: the gap is an estimate."""

SPARE = 0.8
"""A card that is busy for a smaller share of the time has some to spare for more than two groups."""

PACE_SHARE = 0.75
"""The share of a frame's time that bursts may then take: other networks want the card as well."""

WORTH = 8
LEAST = 8
"""A burst is not longer than `WORTH` times its overhead and the overhead itself, as larger ones gain less than an
eighth and keep everybody waiting; but `LEAST` frames are always allowed."""


def worthwhile(overhead: float, per_frame: float) -> float:
    """The most frames of a burst that are worth it."""
    return max(LEAST, WORTH * overhead / per_frame) if per_frame > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known when the device could take a burst of a network.

    `waiting`, `flying`, `coming`: frames in the queue, on the device, announced. `round`: all that go round. `most`: of
    one burst. `gap`: seconds from one arrival to the next, without those that frames wait for this network's own bursts
    because another network has to run before; `pace`: with them. `overhead`, `per_frame`: of a burst, in seconds.
    `busy`: the share of the time that the device works.
    """

    waiting: int
    flying: int
    coming: float
    round: float
    most: int
    gap: float
    pace: float
    overhead: float
    per_frame: float
    busy: float

    @property
    def wanted(self) -> int:
        """How many frames the next burst should have."""
        return math.ceil(self._together) if self._waste < 1 else self._half

    @property
    def limit(self) -> int:
        """How many it should have at most, where more are waiting."""
        if self._waste < IN_DOUBT:
            return self.most
        spare = PACE_SHARE * self.pace - self.per_frame
        if spare > 0 and self.busy < SPARE:
            return max(1, min(self._half, math.ceil(self.overhead / spare)))
        return self._half

    @property
    def worth_waiting(self) -> bool:
        """Whether what is missing comes in less time than the overhead that this saves."""
        missing = min(self.wanted - self.waiting, self.coming + self.flying)
        return missing > 0 and missing * self.gap < self.overhead

    @property
    def _together(self) -> float:
        return min(self.round, self.most)

    @property
    def _half(self) -> int:
        return max(1, min(self.most, math.ceil(self.round / 2)))

    @property
    def _waste(self) -> float:
        """What a frame costs in the fullest burst beside what it costs in two groups; below 1 the burst is better.

        Those of a round that find no room in the burst are ready when it ends: only the rest is waited for.
        """
        if not self.overhead or not self.round:
            return 0.0
        size = self._together
        missing = max(0.0, min(size, 2 * size - self.round))
        return (self.overhead + missing * self.gap) / size / (2 * self.overhead / self.round)
