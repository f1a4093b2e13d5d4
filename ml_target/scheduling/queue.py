"""One model's frames that wait for the device."""

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ml_target.engines import LoadedNetwork
from ml_target.engines.cost import BurstCost
from ml_target.errors import BurstLost, EngineFault, Unavailable
from ml_target.scheduling.plan import Outlook
from ml_target.tensors import Array, Outputs

KNOWN_SHARE = 1.0
"""A burst waits for announced work at most this share of one burst's overhead, which the wait may save."""

HOPED_SHARE = 0.1
"""The same for requests just arriving, and for clients just answered, which mostly send the next one at once."""


@dataclass(eq=False)
class Entry:
    """One frame that waits or runs."""

    values: Array
    done: "asyncio.Future[Outputs]"
    call: object = None
    lost: bool = False
    alone: bool = False


class Pace:
    """How fast announced frames arrive, learned while any are announced: about the last fifty count."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.frames = 0.0
        self.calls = 0.0
        self.total = 0.0
        self.since: float | None = None
        self.owned = 0.0
        self.began = 0.0
        self.behind = False

    @property
    def gap(self) -> float:
        """Seconds from one frame to the next."""
        return self.seconds / self.frames if self.frames else 0.0

    @property
    def usual(self) -> float:
        return max(1.0, self.frames / self.calls) if self.calls else 1.0

    def begins(self, now: float) -> None:
        if self.since is None:
            self.since = now
            self.owned = 0.0
            self.began = now

    def rests(self) -> None:
        self.since = None

    def flies(self, now: float) -> None:
        self.began = now

    def lands(self, now: float) -> None:
        if self.since is not None:
            self.owned += max(0.0, now - max(self.began, self.since))

    def arrived(self, frames: int, now: float, *, more: bool, flying: bool) -> None:
        if self.since is not None:
            weight = 0.98**frames
            elapsed = now - self.since
            self.total = self.total * weight + elapsed
            if self.behind:
                elapsed = max(0.0, elapsed - self.owned)
            self.seconds = self.seconds * weight + elapsed
            self.frames = self.frames * weight + frames
            self.calls = self.calls * weight + 1
        self.owned = 0.0
        self.began = now
        self.since = now if more else None


class ModelQueue:
    """First in, first out; bursts are cut across requests. Owned by one arbiter, on the event loop's thread."""

    def __init__(self, wake: Callable[[], None], network: LoadedNetwork, name: str, *, interactive: bool) -> None:
        self.network = network
        self.name = name
        self.interactive = interactive
        self.waiting: deque[Entry] = deque()
        self.cost = BurstCost()
        self.planned = True
        self.busy = lambda: 1.0
        self.peak = 0.0
        self.passed = 0
        """Turns lost to other queues since the last burst; counted by the arbiter."""
        self._wake = wake
        self.flying = 0
        """Frames on the device; counted by the arbiter."""
        self.pace = Pace()
        self._announced = 0
        self._unsaid = 0
        self._answered = 0
        self._patient_since: float | None = None
        self._refusal = ""

    # ------------------------------------------------------------- for models

    async def infer(self, frames: Sequence[Array]) -> list[Outputs]:
        """The outputs of the frames, in order. When cancelled, frames that have not been sent are dropped.

        Raises EngineFault for a frame that fails, Unavailable when the device is lost for good.
        """
        if self._refusal:
            raise Unavailable(self._refusal)
        loop = asyncio.get_running_loop()
        call = object()
        entries = [Entry(frame, loop.create_future(), call) for frame in frames]
        self.waiting.extend(entries)
        self._answered = max(0, self._answered - len(entries))
        self.pace.arrived(len(entries), loop.time(), more=self._announced + self._unsaid > 0, flying=self.flying > 0)
        self._wake()
        try:
            return list(await asyncio.gather(*(entry.done for entry in entries)))
        finally:
            for entry in entries:
                if not entry.done.cancel() and not entry.done.cancelled():
                    entry.done.exception()  # one failure was raised; the others count as retrieved

    @contextmanager
    def coming(self, frames: int | None = None) -> Iterator[None]:
        """Announces frames while the block prepares them."""
        if frames is None:
            self._unsaid += 1
            self.pace.behind = True
        else:
            self._announced += frames
        self.pace.begins(asyncio.get_running_loop().time())
        try:
            yield
        finally:
            if frames is None:
                self._unsaid -= 1
            else:
                self._announced -= frames
            self._wake()

    # ----------------------------------------------------------- for the arbiter

    def refuse(self, words: str) -> None:
        """Nothing will be sent any more: fails the waiting frames, and all later ones."""
        self._refusal = words
        self.fail(list(self.waiting), Unavailable(words))

    def drop_abandoned(self) -> None:
        """Drops frames that nobody waits for any more, so that they are never sent."""
        if any(entry.done.done() for entry in self.waiting):
            self.waiting = deque(entry for entry in self.waiting if not entry.done.done())
        if not self.waiting:
            self._patient_since = None
        self.peak = max(
            self.peak, len(self.waiting) + self._announced + self._unsaid * self.pace.usual + self.flying
        )
        if not self._announced + self._unsaid:
            self.pace.rests()

    def patience(self, now: float, arriving: int) -> float:
        """Seconds that the next burst should still wait; 0 when it should go now."""
        if len(self.waiting) >= self.network.max_batch:
            return 0.0
        if self._patient_since is None:
            self._patient_since = now
        coming = self._announced + self._unsaid * self.pace.usual
        frames = len(self.waiting) + coming + self.flying
        if coming == 0 and (self._answered or arriving):
            return max(0.0, self._patient_since + HOPED_SHARE * self.cost.overhead - now)
        if not coming and not self.flying:
            return 0.0
        pays = self.outlook.worth_waiting
        share = KNOWN_SHARE if pays else 0.0
        return max(0.0, self._patient_since + share * self.cost.overhead - now)

    @property
    def outlook(self) -> Outlook:
        coming = self._announced + self._unsaid * self.pace.usual
        return Outlook(
            len(self.waiting),
            coming,
            self.flying,
            self.network.max_batch,
            self.pace.gap,
            self.cost.overhead,
            max(self.peak, len(self.waiting) + coming + self.flying),
            self.cost.expected(2) - self.cost.expected(1),
            self.busy(),
            self.pace.total / self.pace.frames if self.pace.frames else 0.0,
        )

    def sent(self, frames: int, now: float) -> None:
        if not self.flying:
            self.pace.flies(now)
        self.flying += frames

    def back(self, frames: int, now: float) -> None:
        self.flying -= frames
        if not self.flying:
            self.pace.lands(now)

    def take(self) -> list[Entry]:
        """The next burst: the oldest frame, and those of its shape behind it, up to the batch size."""
        self._patient_since = None
        first = self.waiting[0]
        burst = [
            entry for entry in self.waiting if entry.values.shape == first.values.shape and entry.alone is first.alone
        ]
        most = 1 if first.alone else self.network.max_batch
        if self.planned and not first.alone:
            target = self.outlook.limit
            while target < min(len(burst), most) and burst[target].call is burst[target - 1].call:
                target += 1
            most = min(most, target)
        burst = burst[:most]
        taken = set(map(id, burst))
        self.waiting = deque(entry for entry in self.waiting if id(entry) not in taken)
        return burst

    def deliver(self, burst: list[Entry], outputs: list[Outputs], seconds: float) -> None:
        """Answers the frames of a burst that took `seconds`."""
        self.peak *= 0.98
        self.cost.add(len(burst), seconds)
        self._answered = len(burst)
        for entry, output in zip(burst, outputs, strict=True):
            if not entry.done.done():
                entry.done.set_result(output)

    def fail(self, burst: list[Entry], error: Exception) -> None:
        """Fails every frame of the burst, each with an error of its own.

        An error that several requests shared would collect the stack frames of them all, and the first to answer
        clears these (`api.memory.forget`): that would end the others' coroutines in the middle.
        """
        for entry in burst:
            if not entry.done.done():
                entry.done.set_exception(copy.copy(error))

    def try_alone(self, burst: list[Entry], error: EngineFault) -> None:
        """A frame that fails must not take those of other requests with it: each goes again by itself."""
        if len(burst) == 1:
            self.fail(burst, error)
            return
        for entry in burst:
            entry.alone = True
        self.waiting.extendleft(reversed(burst))

    def put_back(self, burst: list[Entry], error: BurstLost) -> None:
        """A lost burst goes once more, first; frames lost for the second time fail."""
        again = [entry for entry in burst if not entry.lost and not entry.done.done()]
        self.fail(
            [entry for entry in burst if entry.lost],
            Unavailable(f"{self.name} lost its device twice ({error})", "Try again in a minute."),
        )
        for entry in again:
            entry.lost = True
        self.waiting.extendleft(reversed(again))
