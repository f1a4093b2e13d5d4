"""One model's frames that wait for the device."""

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ml_target.engines import LoadedNetwork
from ml_target.engines.cost import BurstCost
from ml_target.errors import BurstLost, DeviceLost, EngineFault, Unavailable
from ml_target.scheduling.pace import Pace
from ml_target.scheduling.plan import Outlook, worthwhile
from ml_target.tensors import Array, Outputs

HOPED_SHARE = 0.1
"""A burst waits at most this share of its overhead for requests just arriving, and for clients just answered, which
mostly send the next one at once. For announced work it may wait for as long as a whole overhead takes."""

FORGET = 0.98
"""The most frames that were seen to go round fade by this factor with each burst, as clients may have left."""


@dataclass(eq=False)
class Entry:
    """One frame that waits or runs. `call`: the same for frames that were given together."""

    values: Array
    done: "asyncio.Future[Outputs]"
    call: object
    lost: bool = False
    alone: bool = False


class ModelQueue:
    """First in, first out; bursts are cut across requests. Owned by one arbiter, on the event loop's thread."""

    def __init__(
        self,
        wake: Callable[[], None],
        network: LoadedNetwork,
        name: str,
        *,
        interactive: bool,
        busy: Callable[[], float] | None = None,
        lanes: int = 1,
    ) -> None:
        """`busy`: the share of the time that the device works, where bursts are planned; None where they are not, and
        a burst is whatever waits. `lanes`: bursts at a time."""
        self.network = network
        self.name = name
        self.interactive = interactive
        self._busy = None if interactive else busy
        self._lanes = lanes
        self.waiting: deque[Entry] = deque()
        self.cost = BurstCost()
        self._following = BurstCost()
        """Of the bursts that were sent while another ran."""
        self.told = 0
        """Frames that waited when the observer was last told; kept by the arbiter."""
        self.passed = 0
        """Turns lost to other queues since the last burst; counted by the arbiter."""
        self._wake = wake
        self._pace = Pace()
        self._announced = 0
        self._later = 0
        self._flying = 0
        self._round = 0.0
        self._answered = 0
        self._patient_since: float | None = None
        self._refusal: Unavailable | None = None

    # ------------------------------------------------------------- for models

    async def infer(self, frames: Sequence[Array]) -> list[Outputs]:
        """The outputs of the frames, in order. When cancelled, frames that have not been sent are dropped.

        Raises EngineFault for a frame that fails, Unavailable when the device is lost for good.
        """
        if self._refusal is not None:
            raise copy.copy(self._refusal)
        loop, call = asyncio.get_running_loop(), object()
        entries = [Entry(frame, loop.create_future(), call) for frame in frames]
        self.waiting.extend(entries)
        self._pace.arrived(len(entries), loop.time(), more=self._coming > 0)
        self._answered = max(0, self._answered - len(entries))
        self._wake()
        try:
            return list(await asyncio.gather(*(entry.done for entry in entries)))
        finally:
            for entry in entries:
                if not entry.done.cancel() and not entry.done.cancelled():
                    entry.done.exception()  # one failure was raised; the others count as retrieved

    @contextmanager
    def coming(self, frames: int | None = 1) -> Iterator[None]:
        """Announces frames while the block prepares them. None: as many as usual, from another network's answer."""
        if frames is None:
            self._later += 1
            self._pace.behind = True
        else:
            self._announced += frames
        self._pace.announced(asyncio.get_running_loop().time())
        try:
            yield
        finally:
            if frames is None:
                self._later -= 1
            else:
                self._announced -= frames
            self._wake()

    # ----------------------------------------------------------- for the arbiter

    @property
    def most(self) -> int:
        """The most frames of one burst: what the engine takes; where bursts are planned, no more than is worth it."""
        if self._busy is None:
            return self.network.max_batch
        return int(min(self.network.max_batch, worthwhile(self.cost.overhead, self.cost.per_frame)))

    @property
    def behind(self) -> bool:
        """Whether its frames come from another network's answers: with them a request comes to its end."""
        return self._pace.behind

    @property
    def next_seconds(self) -> float:
        """What a burst of the frames that wait would take; 0 before the first one."""
        return self.cost.expected(min(len(self.waiting), self.most))

    @property
    def _coming(self) -> float:
        return self._announced + self._later * self._pace.usual

    def refuse(self, error: Unavailable) -> None:
        """Nothing will be sent any more: fails the waiting frames, and all later ones."""
        self._refusal = error
        self.fail(list(self.waiting), error)

    def take_stock(self) -> None:
        """Drops frames that nobody waits for any more, so that they are never sent, and learns how many go round."""
        if self.waiting and any(entry.done.done() for entry in self.waiting):
            self.waiting = deque(entry for entry in self.waiting if not entry.done.done())
        if not self.waiting:
            self._patient_since = None
        coming = self._coming
        self._round = max(self._round, len(self.waiting) + self._flying + coming)
        if not coming:
            self._pace.rests()

    def patience(self, now: float, arriving: int) -> float:
        """Seconds that the next burst should still wait; 0 when it should go now."""
        if self._busy is None or len(self.waiting) >= self.most:
            return 0.0
        if self._patient_since is None:
            self._patient_since = now
        share = 0.0
        if self._coming or self._flying:
            share = 1.0 if self._outlook(self._busy()).worth_waiting else 0.0
        elif self._answered or arriving:
            share = HOPED_SHARE
        return max(0.0, self._patient_since + share * self.cost.overhead - now)

    def _outlook(self, busy: float) -> Outlook:
        return Outlook(
            waiting=len(self.waiting),
            flying=self._flying,
            coming=self._coming,
            round=max(self._round, len(self.waiting)) / self._lanes,
            most=self.most,
            gap=self._pace.gap,
            pace=self._pace.whole,
            overhead=self.cost.overhead,
            per_frame=self.cost.per_frame,
            busy=busy,
        )

    def take(self, now: float) -> list[Entry]:
        """The next burst: the oldest frame, and those of its shape behind it, as many as are planned.

        Frames that were given together are not parted for the plan's sake, as their request waits for the last one.
        """
        self._patient_since = None
        first = self.waiting[0]
        alike = [
            entry for entry in self.waiting if entry.values.shape == first.values.shape and entry.alone is first.alone
        ]
        size = 1 if first.alone else self.most
        if self._busy is not None and not first.alone:
            most, size = size, min(size, self._outlook(self._busy()).limit)
            while size < min(len(alike), most) and alike[size].call is alike[size - 1].call:
                size += 1
        burst = alike[:size]
        taken = set(map(id, burst))
        self.waiting = deque(entry for entry in self.waiting if id(entry) not in taken)
        if not self._flying:
            self._pace.sent(now)
        self._flying += len(burst)
        return burst

    def back(self, burst: list[Entry], now: float) -> None:
        """A burst that was taken is no longer on the device, whatever became of it."""
        self._flying -= len(burst)
        if not self._flying:
            self._pace.ended(now)

    def expected(self, frames: int, follows: bool) -> float:
        """Seconds that a burst of `frames` takes; 0 before the first one.

        `follows`: it is sent while another runs, so the device begins with it at once. An idle one has to be reached.
        """
        cost = self._following if follows and self._following.weight else self.cost
        return cost.expected(frames)

    def deliver(self, burst: list[Entry], outputs: list[Outputs], seconds: float, follows: bool) -> None:
        """Answers the frames of a burst that took `seconds`; `follows` as for `expected`."""
        self.cost.add(len(burst), seconds)
        if follows:
            self._following.add(len(burst), seconds)
        self._round *= FORGET
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
            DeviceLost(f"{self.name} lost its device twice ({error})", "Try again in a minute."),
        )
        for entry in again:
            entry.lost = True
        self.waiting.extendleft(reversed(again))
