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

    @property
    def target(self) -> int:
        """How many frames the next burst should have."""
        size = min(self.frames, self.most)
        missing = min(size, 2 * size - self.frames)
        if (self.overhead + max(0, missing) * self.gap) / size < 2 * self.overhead / self.frames:
            return math.ceil(size)
        return min(self.most, math.ceil(self.frames / 2))

    @property
    def worth_waiting(self) -> bool:
        missing = min(self.target - self.waiting, self.coming + self.flying)
        return missing > 0 and missing * self.gap < self.overhead
