"""When a burst should wait for more, as arithmetic: no clock, no queues, no state.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outlook:
    waiting: int
    coming: float
    flying: int
    most: int
    gap: float
    overhead: float
    frames: float
    per_frame: float
    busy: float = 1.0
    pace: float = 0.0

    @property
    def strain(self) -> float:
        """What one burst for all wastes beside what two groups do: below 1 together is better."""
        size = min(self.frames, self.most)
        missing = max(0, min(size, 2 * size - self.frames))
        together = (self.overhead + missing * self.gap) / size
        apart = 2 * self.overhead / self.frames
        return together / apart if apart else 0

    @property
    def half(self) -> int:
        return min(self.most, math.ceil(self.frames / 2))

    @property
    def wanted(self) -> int:
        """How many frames the next burst should have."""
        return math.ceil(min(self.frames, self.most)) if self.strain < 1 else self.half

    @property
    def limit(self) -> int:
        """How many frames the next burst should have."""
        if self.strain < 1.25:
            return self.most
        spare = 0.75 * self.pace - self.per_frame
        if spare > 0 and self.busy < BUSY:
            return max(1, min(self.half, math.ceil(self.overhead / spare)))
        return self.half

    @property
    def worth_waiting(self) -> bool:
        missing = min(self.wanted - self.waiting, self.coming + self.flying)
        return missing > 0 and missing * self.gap < self.overhead

BUSY = 0.85
