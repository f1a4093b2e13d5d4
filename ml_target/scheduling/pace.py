"""How fast announced frames arrive at a queue: learned from those that did. Every time is given, none is asked for."""

DECAY = 0.98
"""How much weight a frame keeps with each later one: about the last fifty count."""


class Pace:
    """Seconds from one frame to the next, counted while any are announced.

    `behind`: its frames come from answers of another network of the same device, which cannot run while a burst of this
    one does. That time says nothing of how soon they come once the device is free.
    """

    def __init__(self) -> None:
        self.behind = False
        self._frames = self._calls = self._all = self._free = 0.0
        self._since: float | None = None
        self._sent: float | None = None
        self._blocked = 0.0

    @property
    def gap(self) -> float:
        """Seconds from one frame to the next while the device is free; 0 before the first."""
        return (self._free if self.behind else self._all) / self._frames if self._frames else 0.0

    @property
    def whole(self) -> float:
        """The same with the bursts of its own."""
        return self._all / self._frames if self._frames else 0.0

    @property
    def usual(self) -> float:
        """Frames that arrive at a time, at least 1."""
        return max(1.0, self._frames / self._calls) if self._calls else 1.0

    def announced(self, now: float) -> None:
        """Frames are announced."""
        if self._since is None:
            self._restart(now)

    def rests(self) -> None:
        """None are announced any more."""
        self._since = None

    def sent(self, now: float) -> None:
        """A burst of the queue's own is on the device, and none was before."""
        self._sent = now

    def ended(self, now: float) -> None:
        """No burst of the queue's own is on the device any more."""
        if self._sent is not None:
            self._blocked += now - self._sent
        self._sent = None

    def arrived(self, frames: int, now: float, *, more: bool) -> None:
        """So many frames at a time. `more`: others are still announced."""
        if self._since is not None:  # what arrives beside an own burst was not held up by it
            weight, elapsed = DECAY**frames, now - self._since
            self._frames = self._frames * weight + frames
            self._calls = self._calls * weight + 1
            self._all = self._all * weight + elapsed
            self._free = self._free * weight + max(0.0, elapsed - self._blocked)
        self._restart(now)
        if not more:
            self._since = None

    def _restart(self, now: float) -> None:
        self._since, self._blocked = now, 0.0
        if self._sent is not None:
            self._sent = now
