"""Everything since the start, as monitoring wants it: numbers that only grow."""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

from ml_target.errors import Reason
from ml_target.figures.observer import Fault, RecoveryKind

REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 240.0)
BURST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
BURST_FRAMES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 63.0)
"""Upper bounds. The last ones are REQUEST_TIMEOUT_S by default, a slow burst, and the most that HAILO_BATCH may be."""


class Histogram:
    """How many values fell below each of its bounds, and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


@dataclass(slots=True)
class Sum:
    """A number of values, and their sum."""

    count: int = 0
    sum: float = 0.0


@dataclass(slots=True)
class OfNetwork:
    """The bursts of one network."""

    frames: Histogram = field(default_factory=lambda: Histogram(BURST_FRAMES))
    seconds: Histogram = field(default_factory=lambda: Histogram(BURST_S))


class Totals:
    """Filled by the recorder. A request for several tasks counts once for each of them."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        """By task ("none" where the form was refused before it said which) and status of the answer."""
        self.failures: Counter[Reason] = Counter()
        self.seconds: dict[str, Histogram] = {}
        """By task, of the requests that were done."""
        self.stages: dict[tuple[str, str], Sum] = {}
        """Seconds by task and stage, of the requests that were done."""
        self.bursts: dict[str, OfNetwork] = {}
        self.busy: dict[str, float] = {}
        """Seconds of bursts, answered or not, by engine."""
        self.recoveries: Counter[tuple[str, RecoveryKind]] = Counter()
        """By engine and kind."""
        self.faults: Counter[Fault] = Counter()

    def done(self, task: str, seconds: float) -> None:
        """A request for this task was done."""
        (self.seconds.get(task) or self.seconds.setdefault(task, Histogram(REQUEST_S))).add(seconds)

    def stage(self, task: str, stage: str, seconds: float) -> None:
        """It spent so long in this stage."""
        total = self.stages.get((task, stage)) or self.stages.setdefault((task, stage), Sum())
        total.count += 1
        total.sum += seconds

    def burst(self, engine: str, network: str, frames: int, seconds: float) -> None:
        """A burst was answered."""
        of = self.bursts.get(network) or self.bursts.setdefault(network, OfNetwork())
        of.frames.add(frames)
        of.seconds.add(seconds)
        self.was_busy(engine, seconds)

    def was_busy(self, engine: str, seconds: float) -> None:
        """A burst took so long, whatever became of it."""
        self.busy[engine] = self.busy.get(engine, 0.0) + seconds
