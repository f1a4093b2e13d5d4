"""One network configured on the card: frames in, raw integers out, avoiding the traps of `run_async`.

The rules it follows, from how HailoRT 4.2x behaves:
- sizes are checked before submission, because a failing submission kills the configured model;
- the result comes from the callback's status, because a job's `wait` succeeds even when inference failed;
- the callback only records the status and sets an event: it runs on HailoRT's thread and must neither block nor raise;
- after one lost burst no other of the same configuration is trusted: answers may be shifted by one frame;
- frames in flight stay within the queue, because an overflow kills the model too;
- arrays of a lost burst are kept until the configured model is gone: it may write to them until then (`slots.py`).
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
from ml_target.errors import BurstLost, TaskOff
from ml_target.tensors import Array, Outputs

log = logging.getLogger(__name__)

READY_TIMEOUT_MS = 1000

ABORTED = 63
"""HailoRT's status (HAILO_STREAM_ABORT) for frames in flight when the card's streams were closed."""

BURST_BYTES = 16 * 2**20
"""The most that the frames of one burst and their answers take: two bursts at a time, and arrays that are lent out,
stay below 64 MiB. It is eleven frames of a face detector and hundreds of a face recogniser."""

ROOM_TIMEOUT_S = 4 * CEILING_S
"""How long to wait for room in the queue. A last resort: the bursts that occupy it have shorter limits of their own."""


class HailoNetwork:
    """A network of the catalogue on the card; `fit` describes its file.

    `batch`: the most frames of a burst that HailoRT is told; at most the one given, less where frames are large.
    """

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
        self.distrust: TaskOff | None = None
        self._counts = threading.Condition()
        self._submission = threading.Lock()
        self.network = network
        self.fit = fit
        self._current: Configuration | None = None
        self._frames = Frames(network, fit)
        self.batch = max(1, min(batch, BURST_BYTES // self._frames.both_ways))
        self.max_batch = self.batch
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
        """Whether HailoRT aborted one of its bursts, as it does when the card is too hot."""
        return self._current is not None and self._current.aborted

    def put_on_card(self, configured: Any) -> None:
        """Takes a freshly configured model and runs one fixed frame twice, before any other frame.

        HailoRT makes its callback thread at the first inference, which is not safe for two at once. If
        the answers cannot be trusted, `distrust` says so from now on. Raises BurstLost.
        """
        queue = int(configured.get_async_queue_size())
        # One burst runs and one more is queued: both must fit into the queue.
        self.max_batch = max(1, min(self.batch, queue // 2))
        current = Configuration(configured, queue)
        self._current = current
        frame = self._frames.given(fixed_frame(self.network, self.fit.input.limits))
        first, again = (digest(self._burst(current, [frame])[0]) for _ in range(2))
        self._believe(self._trust.doubt(first, again))
        current.blank = current.slot()
        current.blank.take(self.fit.input.name, self._frames.blank(), self._frames.answers(current.spare))

    def _believe(self, doubt: TaskOff | None) -> None:
        if doubt:
            log.error("%s: %s", self.network.name, doubt)
        elif self.distrust:
            log.warning("%s: the card answers alike again; its task is on", self.network.name)
        self.distrust = doubt

    def close(self) -> None:
        """Drops the configured model. Its destructor ends what is in flight, late writes included; without the GIL.

        If the card is lost, this may never return.
        """
        current, self._current = self._current, None
        if current is not None:
            self._end(current)
            with self._submission:  # a submission under way would keep the model beyond this call
                current.model.__exit__(None, None, None)
            current.forget_lost()

    def _end(self, configuration: Configuration) -> None:
        """Ends this configuration, not a later one: it takes no more bursts, and waiting for room in it ends."""
        with self._counts:
            configuration.alive = False
            self._counts.notify_all()

    # -------------------------------------------------------------------- run

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        """Runs frames of this network's shape, at most `max_batch`.

        Raises EngineFault for a frame that does not fit, BurstLost when the card failed, Unavailable
        while the card's answers cannot be trusted.
        """
        buffers = [self._frames.given(frame) for frame in frames]
        current = self._current
        if current is None or not current.alive:
            raise BurstLost(f"{self.network.name} is not configured on the card")
        if self.distrust:
            raise TaskOff(f"{self.network.name}: {self.distrust.reason}", self.distrust.remedy)
        self._make_room(self, len(buffers))
        return [self._frames.named(answers) for answers in self._burst(current, buffers)]

    def send_blank(self) -> None:
        """Sends an empty frame and discards its answer; at most one is in flight."""
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
            self._end(current)  # the next burst reports why

    def _burst(self, current: Configuration, buffers: Sequence[Array]) -> list[dict[str, Array]]:
        """Runs one burst, from slots that it owns until it has succeeded; returns each frame's answers by stream."""
        turn = self._turns.enter()
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
        """After the burst's callback: its answers. Raises BurstLost if this burst failed, or an earlier one did."""
        if failed or not current.alive:
            current.aborted |= any(status_of(each) == ABORTED for each in failed)
            self._end(current)
            why = describe(failed[0]) if failed else "another burst of its network was lost before it"
            raise BurstLost(f"{self.network.name}: the card lost a burst ({why})")
        answers = current.take_back(slots)
        self._give_room(current, len(slots))
        return answers

    def _take_room(self, current: Configuration, frames: int, timeout: float) -> bool:
        """Keeps the frames in flight within the queue, even with several cards that take bursts at once."""

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
