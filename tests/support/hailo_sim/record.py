"""What happened on a rig: for assertions and for benches."""

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Burst:
    """Frames handed to a card at once (one, where a network streams). Simulated seconds."""

    model: str
    card: str
    frames: int
    start: float
    end: float
    switched: bool


@dataclass(slots=True)
class ModelRecord:
    """Counts of one network group. `bursts`: how many of each size.

    `max_in_flight`: most frames submitted and not completed. `bindings`: objects created.
    `dma_allocations`: one an output of each completed frame, as the binding does (docs/hailort.md §2.4).
    """

    bursts: Counter[int] = field(default_factory=Counter)
    frames: int = 0
    submissions: int = 0
    refused: int = 0
    completed: int = 0
    failed: int = 0
    callbacks: int = 0
    max_in_flight: int = 0
    bindings: int = 0
    dma_allocations: int = 0
    configured: int = 0
    closed: int = 0


@dataclass(slots=True)
class Record:
    """Counts of a rig. `busy`: simulated seconds a card worked; `log`: the last bursts; `messages`: hailort.log.

    `most_in_flight`: most frames submitted and not completed, of all models together.
    """

    models: defaultdict[str, ModelRecord] = field(default_factory=lambda: defaultdict(ModelRecord))
    busy: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    most_in_flight: int = 0
    switches: int = 0
    opened: int = 0
    released: int = 0
    controls: int = 0
    log: deque[Burst] = field(default_factory=lambda: deque(maxlen=10_000))
    messages: deque[str] = field(default_factory=lambda: deque(maxlen=1_000))
    crashes: list[str] = field(default_factory=list)

    def burst(self, burst: Burst) -> None:
        """Notes a burst."""
        model = self.models[burst.model]
        model.bursts[burst.frames] += 1
        model.frames += burst.frames
        self.switches += burst.switched
        self.log.append(burst)

    def say(self, message: str) -> None:
        """A line of the library's log."""
        self.messages.append(message)
