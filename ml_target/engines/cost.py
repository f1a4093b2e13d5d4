"""What a burst costs: T(n) = overhead + n * per_frame, learned from the bursts themselves."""

from dataclasses import dataclass

MEMORY = 0.95
"""Weight of a burst after each further one: the last twenty or so count."""

UNKNOWN_SHARE = 0.5
"""Share of a burst's time taken for overhead while all bursts had one size, which tells nothing of it."""


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
        self.weight = self.weight * MEMORY + 1
        self.frames = self.frames * MEMORY + frames
        self.squares = self.squares * MEMORY + frames * frames
        self.seconds = self.seconds * MEMORY + seconds
        self.products = self.products * MEMORY + frames * seconds

    @property
    def overhead(self) -> float:
        """Seconds a burst costs whatever its size; 0 before the first one."""
        if not self.weight:
            return 0.0
        mean_frames, mean_seconds = self.frames / self.weight, self.seconds / self.weight
        return max(0.0, mean_seconds - self._slope(mean_frames, mean_seconds) * mean_frames)

    def expected(self, frames: int) -> float:
        """Seconds a burst of so many frames takes; 0 before the first one."""
        if not self.weight:
            return 0.0
        mean_frames, mean_seconds = self.frames / self.weight, self.seconds / self.weight
        return max(0.0, mean_seconds + self._slope(mean_frames, mean_seconds) * (frames - mean_frames))

    def _slope(self, mean_frames: float, mean_seconds: float) -> float:
        """Seconds a frame."""
        variance = self.squares / self.weight - mean_frames**2
        if variance < 0.05:
            return (1 - UNKNOWN_SHARE) * mean_seconds / max(1.0, mean_frames)
        return max(0.0, (self.products / self.weight - mean_frames * mean_seconds) / variance)
