"""The last minutes in steps of some seconds: counted as it happens, in a ring that never grows."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

STEP_S, STEPS = 5, 120
"""Seconds of one step, and how many of them are kept: ten minutes."""


@dataclass(slots=True)
class TaskStep:
    """One task in one step. `ms`, `stages`: milliseconds of the requests that were done, in all and by stage."""

    done: int = 0
    failed: int = 0
    ms: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class NetworkStep:
    """One network in one step. `waiting`: the most frames that waited at a time; `busy`: seconds of its bursts,
    answered or not."""

    waiting: int = 0
    frames: int = 0
    bursts: int = 0
    busy: float = 0.0


@dataclass(slots=True)
class Step:
    """What happened in one step, by task, by network and by reason. `photos`: pictures answered."""

    tasks: dict[str, TaskStep] = field(default_factory=dict)
    networks: dict[str, NetworkStep] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    photos: int = 0

    def task(self, name: str) -> TaskStep:
        return self.tasks.get(name) or self.tasks.setdefault(name, TaskStep())

    def network(self, name: str) -> NetworkStep:
        return self.networks.get(name) or self.networks.setdefault(name, NetworkStep())


class Ring:
    """The step that runs, and the `STEPS` before it. `clock`: seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._number = int(clock() // STEP_S)
        self._steps: deque[Step] = deque([Step()], maxlen=STEPS + 1)
        self.waits: dict[str, int] = {}
        """Frames that wait now, by network."""

    def now(self) -> Step:
        """The step that runs."""
        number = int(self._clock() // STEP_S)
        if number != self._number:
            self._advance(number)
        return self._steps[-1]

    def past(self) -> list[Step | None]:
        """The last `STEPS` steps that have ended, the oldest first; None for those before the start."""
        self.now()
        ended = [*self._steps][:-1]
        return [*[None] * (STEPS - len(ended)), *ended]

    def waiting(self, network: str, frames: int) -> None:
        """So many frames wait from now on, until the next call."""
        step = self.now().network(network)
        step.waiting = max(step.waiting, frames)
        self.waits[network] = frames

    def burst(self, network: str, frames: int, seconds: float) -> None:
        """A burst has been answered that took `seconds`: its time goes to the steps in which it ran."""
        step = self.now().network(network)
        step.bursts += 1
        step.frames += frames
        self.busy(network, seconds)

    def busy(self, network: str, seconds: float) -> None:
        """The device was busy with this network in the last `seconds`."""
        self.now()
        for each, part in self._backwards(seconds):
            each.network(network).busy += part

    def _advance(self, number: int) -> None:
        """Begins the steps up to `number`: frames that wait go on waiting in each of them."""
        for _ in range(min(number - self._number, STEPS + 1)):
            waiting = {network: NetworkStep(frames) for network, frames in self.waits.items() if frames}
            self._steps.append(Step(networks=waiting))
        self._number = number

    def _backwards(self, seconds: float) -> Iterator[tuple[Step, float]]:
        """The steps of the last `seconds`, the newest first, with the seconds that fall into each."""
        room = self._clock() - self._number * STEP_S
        for step in reversed(self._steps):
            yield step, min(seconds, room)
            seconds -= room
            if seconds <= 0:
                return
            room = STEP_S
