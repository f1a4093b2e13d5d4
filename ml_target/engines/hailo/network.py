"""One network configured on the card: frames in, raw integers out, every trap of `run_async` avoided.

The rules this module keeps, from how HailoRT 4.2x behaves:
- sizes are checked before submission, because a failing submission kills the configured model;
- the result comes from the callback's status, because a job's `wait` succeeds even when inference failed;
- the callback only notes and sets an event: it runs on HailoRT's thread and must neither block nor raise;
- after one lost burst no other of the same configuration is believed: answers may have moved by one frame;
- frames in flight stay within the queue, because an overflow kills the model too;
- arrays of a lost burst are kept until the configured model has gone, for it writes to them until then (`slots.py`).
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from ml_target.catalogue.types import Network
from ml_target.engines.cost import BurstCost
from ml_target.engines.hailo.fit import Fit
from ml_target.engines.hailo.frames import Frames
from ml_target.engines.hailo.slots import Configuration, Slot
from ml_target.engines.hailo.status import describe, status_of
from ml_target.engines.hailo.trust import Trust, digest, fixed_frame
from ml_target.engines.hailo.turns import CEILING_S, Turns
from ml_target.errors import BurstLost, Unavailable
from ml_target.tensors import Array, Outputs

log = logging.getLogger(__name__)

READY_TIMEOUT_MS = 1000

ABORTED = 63
"""HailoRT's status (HAILO_STREAM_ABORT) of frames that the card's streams were closed under."""

ROOM_TIMEOUT_S = 4 * CEILING_S
"""For room in the queue. Those that take it have limits of their own and end before: this is a last resort."""


class HailoNetwork:
    """A network of the catalogue on the card, described by its file (`fit`)."""

    def __init__(
        self,
        network: Network,
        fit: Fit,
        batch: int,
        turns: Turns,
        make_room: "Callable[[HailoNetwork, int], None]",
    ) -> None:
        self._make_room = make_room
        self._turns = turns
        self._cost = BurstCost()
        self._trust = Trust()
        self.distrust = ""
        self.in_flight = 0
        self._counts = threading.Condition()
        self._submission = threading.Lock()
        self.network = network
        self.fit = fit
        self.batch = batch
        self.max_batch = batch
        self._current: Configuration | None = None
        self._frames = Frames(network, fit)
        self.frame_bytes = self._frames.size
        self.intake = self._frames.intake
        self.roles = self._frames.roles

    # ------------------------------------------------------------------- life

    @property
    def on_card(self) -> bool:
        """Whether there is a configured model, dead or alive, that has to be closed."""
        return self._current is not None

    @property
    def alive(self) -> bool:
        """Whether it is on the card and has lost nothing since it was put there."""
        return self._current is not None and self._current.alive

    @property
    def aborted(self) -> bool:
        """Whether HailoRT called off a burst of it, as it does when the card has become too hot."""
        return self._current is not None and self._current.aborted

    def put_on_card(self, configured: Any) -> None:
        """Takes a freshly configured model and runs one fixed frame twice, before anybody else runs one.

        HailoRT makes its callback thread at the first inference, and not safely for two at once. Where
        the answers cannot be believed, `distrust` says so from now on. Raises BurstLost.
        """
        queue = int(configured.get_async_queue_size())
        # One burst runs and one more is sent ahead: both must fit into the queue.
        self.max_batch = max(1, min(self.batch, queue // 2))
        current = Configuration(configured, queue)
        self._current = current
        frame = self._frames.given(fixed_frame(self.network, self.fit.input.limits))
        first, again = (digest(self._burst(current, [frame])[0]) for _ in range(2))
        self._believe(self._trust.doubt(first, again))
        current.blank = current.slot()
        current.blank.take(self.fit.input.name, self._frames.blank(), self._frames.answers(current.spare))

    def _believe(self, doubt: str) -> None:
        if doubt:
            log.error("%s: %s", self.network.name, doubt)
        elif self.distrust:
            log.warning("%s: the card answers alike again; its task is on", self.network.name)
        self.distrust = doubt

    def close(self) -> None:
        """Drops the configured model. Its destructor ends what is in flight, late writes included; without the GIL.

        With a lost card it may not come back.
        """
        current, self._current = self._current, None
        if current is not None:
            self._end(current)
            with self._submission:  # a submission under way would keep the model beyond this call
                current.model.__exit__(None, None, None)
            current.forget_lost()

    def _end(self, configuration: Configuration) -> None:
        """It takes no burst any more, and nobody waits for room in it. A later one is not touched."""
        with self._counts:
            configuration.alive = False
            self._counts.notify_all()

    # -------------------------------------------------------------------- run

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        """Runs frames of this network's shape, at most `max_batch`.

        Raises EngineFault for a frame that does not fit, BurstLost when the card failed, Unavailable
        while the card's answers cannot be believed.
        """
        buffers = [self._frames.given(frame) for frame in frames]
        current = self._current
        if current is None or not current.alive:
            raise BurstLost(f"{self.network.name} is not configured on the card")
        if self.distrust:
            raise Unavailable(f"{self.network.name}: {self.distrust}.")
        self._make_room(self, len(buffers))
        return [self._frames.named(answers) for answers in self._burst(current, buffers)]

    def send_blank(self) -> None:
        """Sends an empty frame whose answer nobody wants; at most one is on its way."""
        current = self._current
        if current is None or current.blank is None or current.blank_sent or not self._take_room(current, 1, 0):
            return
        current.blank_sent = True

        def on_end(completion_info: Any) -> None:
            if completion_info.exception is None:
                current.blank_sent = False
                self._give_room(current, 1)
            else:
                current.aborted |= status_of(completion_info.exception) == ABORTED
                self._end(current)

        try:
            with self._submission:
                current.model.run_async([current.blank.bindings], on_end)
        except Exception:
            self._end(current)  # its next burst says why

    def _burst(self, current: Configuration, buffers: Sequence[Array]) -> list[dict[str, Array]]:
        """Runs one burst from slots that are nobody else's until it has ended well; each frame's answers by stream."""
        turn = self._turns.enter()
        self._count(len(buffers))
        failed: list[Any] = []

        def on_end(completion_info: Any) -> None:
            if completion_info.exception is not None:
                failed.append(completion_info.exception)
                current.alive = False  # before the next burst's callback, which comes after this one
            turn.ended.set()

        try:
            slots = self._submit(current, buffers, on_end)
            limit = self._turns.limit(self._cost, len(buffers))
            if not self._turns.wait(turn, limit):
                self._end(current)
                raise BurstLost(f"{self.network.name}: a burst did not end within {limit:.1f} s")
        finally:
            self._turns.leave(turn)
            self._count(-len(buffers))
        answers = self._settle(current, slots, failed)
        self._cost.add(len(buffers), self._turns.lasted(turn))
        return answers

    def _submit(self, current: Configuration, buffers: Sequence[Array], on_end: Callable[[Any], None]) -> list[Slot]:
        try:
            slots = [current.slot() for _ in buffers]
            for slot, buffer in zip(slots, buffers, strict=True):
                slot.take(self.fit.input.name, buffer, self._frames.answers(current.spare))
            with self._submission:  # between check and act another burst could take the room
                if not self._take_room(current, len(slots), ROOM_TIMEOUT_S):
                    raise BurstLost("no room in the card's queue")
                current.model.wait_for_async_ready(timeout_ms=READY_TIMEOUT_MS, frames_count=len(slots))
                current.hand_out(slots)
                current.model.run_async([slot.bindings for slot in slots], on_end)
        except Exception as error:
            current.aborted |= status_of(error) == ABORTED
            self._end(current)
            raise BurstLost(f"{self.network.name}: the card took no burst ({describe(error)})") from error
        return slots

    def _settle(self, current: Configuration, slots: Sequence[Slot], failed: Sequence[Any]) -> list[dict[str, Array]]:
        """The burst's callback has come. Raises BurstLost where it says so, or where another's did before it."""
        if failed or not current.alive:
            current.aborted |= any(status_of(each) == ABORTED for each in failed)
            self._end(current)
            why = describe(failed[0]) if failed else "another burst of its network was lost before it"
            raise BurstLost(f"{self.network.name}: the card lost a burst ({why})")
        answers = current.take_back(slots)
        self._give_room(current, len(slots))
        return answers

    def _count(self, frames: int) -> None:
        with self._counts:
            self.in_flight += frames

    def _take_room(self, current: Configuration, frames: int, timeout: float) -> bool:
        """Keeps frames in flight within the queue, however many bursts several cards take at a time."""

        def free() -> bool:
            return not current.alive or current.flying + frames <= current.queue

        with self._counts:
            if not self._counts.wait_for(free, timeout) or not current.alive:
                return False
            current.flying += frames
            return True

    def _give_room(self, current: Configuration, frames: int) -> None:
        with self._counts:
            current.flying -= frames
            self._counts.notify_all()
