"""What a burst costs: T(n) = overhead + n * per_frame, learned from the bursts themselves."""

from dataclasses import dataclass

DECAY = 0.95
"""How much weight a burst keeps with each later one: about the last twenty count."""

OVERHEAD_GUESS = 0.75
"""Share of a burst's time assumed to be overhead while all bursts had one size, from which it cannot be learned.

With one frame it is 0.5 to 0.9 for nearly all networks of several contexts (docs/hailort.md §6.1). Too much
shows itself, as a burst then waits, gets larger, and the truth is learned; with too little, bursts
of one would stay so for ever."""


@dataclass
class BurstCost:
    """A weighted least-squares line through (frames, seconds)."""

    weight: float = 0.0
    frames: float = 0.0
    squares: float = 0.0
    seconds: float = 0.0
    products: float = 0.0

    def add(self, frames: int, seconds: float) -> None:
        """Learns from one burst."""
        self.weight = self.weight * DECAY + 1
        self.frames = self.frames * DECAY + frames
        self.squares = self.squares * DECAY + frames * frames
        self.seconds = self.seconds * DECAY + seconds
        self.products = self.products * DECAY + frames * seconds

    @property
    def overhead(self) -> float:
        """Seconds a burst costs whatever its size; 0 before the first one."""
        if not self.weight:
            return 0.0
        mean_frames, mean_seconds = self.frames / self.weight, self.seconds / self.weight
        return max(0.0, mean_seconds - self._slope(mean_frames, mean_seconds) * mean_frames)

    def expected(self, frames: int) -> float:
        """Seconds that a burst of `frames` frames takes; 0 before the first one."""
        if not self.weight:
            return 0.0
        mean_frames, mean_seconds = self.frames / self.weight, self.seconds / self.weight
        return max(0.0, mean_seconds + self._slope(mean_frames, mean_seconds) * (frames - mean_frames))

    @property
    def per_frame(self) -> float:
        """Seconds that each frame adds; 0 before the first burst."""
        return self._slope(self.frames / self.weight, self.seconds / self.weight) if self.weight else 0.0

    def _slope(self, mean_frames: float, mean_seconds: float) -> float:
        """Seconds per frame."""
        variance = self.squares / self.weight - mean_frames**2
        if variance < 0.05:
            return (1 - OVERHEAD_GUESS) * mean_seconds / max(1.0, mean_frames)
        return max(0.0, (self.products / self.weight - mean_frames * mean_seconds) / variance)
