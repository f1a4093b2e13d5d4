"""One network configured on the card: frames in, raw integers out, every trap of `run_async` avoided.

The rules this module keeps, from how HailoRT 4.2x behaves:
- sizes are checked before submission, because a failing submission kills the configured model;
- the result comes from the callback's status, because a job's `wait` succeeds even when inference failed;
- the callback only sets an event: it runs on HailoRT's thread and must neither block nor raise;
- frames in flight stay within the queue, because an overflow kills the model too;
- arrays are reused, and given out so that they come back only when nobody looks at them any more.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml_target.catalogue.types import Network, PictureInput, TextInput
from ml_target.engines import Intake
from ml_target.errors import BurstLost, EngineFault
from ml_target.hailo_status import describe
from ml_target.hef_fit import Fit
from ml_target.hef_streams import channel_quantisation, uniform_quantisation
from ml_target.tensors import Array, Outputs, Tensor

READY_TIMEOUT_MS = 1000
BURST_TIMEOUT_S = 12.0
"""HailoRT's own pipelines give up after 10 s; a burst that has not ended by then never will."""


class HailoNetwork:
    """A network of the catalogue on the card, described by its file (`fit`)."""

    def __init__(
        self, network: Network, fit: Fit, batch: int, make_room: "Callable[[HailoNetwork, int], None]"
    ) -> None:
        self._make_room = make_room
        self.in_flight = 0
        self._counts = threading.Condition()
        self._submission = threading.Lock()
        self.network = network
        self.fit = fit
        self.batch = batch
        self.max_batch = batch
        self._current: _Configuration | None = None
        self._frame = _frame_shape(network)
        self.frame_bytes = int(np.prod(fit.input.shape)) * np.dtype(fit.input.dtype).itemsize
        self._dtype = "uint8" if isinstance(network.input, PictureInput) else "float32"
        self.intake = Intake(self._frame, self._dtype)
        self._outputs = {b.output.role: (b, fit.output(b), channel_quantisation(fit.output(b))) for b in fit.bindings}
        self.roles: Mapping[str, tuple[int, ...]] = {
            role: b.canonical(np.empty(stream.shape, np.uint8), self._frame).shape
            for role, (b, stream, _) in self._outputs.items()
        }

    # ------------------------------------------------------------------- life

    @property
    def alive(self) -> bool:
        """Whether it is on the card and has lost nothing since it was put there."""
        return self._current is not None and self._current.alive

    def put_on_card(self, configured: Any) -> None:
        """Takes a freshly configured model and runs one inference.

        HailoRT makes its callback thread at the first inference, and not safely for two at once.
        Raises BurstLost.
        """
        queue = int(configured.get_async_queue_size())
        # One burst runs and one more is sent ahead: both must fit into the queue.
        self.max_batch = max(1, min(self.batch, queue // 2))
        current = _Configuration(configured, queue)
        current.blank = self._new_slot(current)
        current.blank.take(self.fit.input.name, np.zeros(self.fit.input.shape, self.fit.input.dtype))
        self._current = current
        self.run([np.zeros(self._frame, self._dtype)])

    def close(self) -> None:
        """Drops the configured model; HailoRT's destructor waits for what is in flight, without the GIL."""
        current, self._current = self._current, None
        if current is not None:
            self._end(current)
            current.model.__exit__(None, None, None)

    def _end(self, configuration: "_Configuration") -> None:
        """It takes no burst any more, and nobody waits for room in it. A later one is not touched."""
        with self._counts:
            configuration.alive = False
            self._counts.notify_all()

    # -------------------------------------------------------------------- run

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        """Runs frames of this network's shape, at most `max_batch`.

        Raises EngineFault for a frame that does not fit, BurstLost when the card failed.
        """
        buffers = [self._buffer(frame) for frame in frames]
        current = self._current
        if current is None or not current.alive:
            raise BurstLost(f"{self.network.name} is not configured on the card")
        self._make_room(self, len(buffers))
        self._count(len(buffers))
        try:
            slots = self._submit(current, buffers)
        finally:
            self._count(-len(buffers))
        return [self._named(slot, current.free) for slot in slots]

    def _count(self, frames: int) -> None:
        with self._counts:
            self.in_flight += frames

    def send_blank(self) -> None:
        """Sends an empty frame whose answer nobody wants; at most one is on its way."""
        current = self._current
        if current is None or current.blank is None or current.blank_sent or not self._take_room(current, 1, 0):
            return
        current.blank_sent = True

        def on_end(completion_info: Any) -> None:
            current.blank_sent = False
            self._give_room(current, 1)
            if completion_info.exception is not None:
                self._end(current)

        try:
            with self._submission:
                current.model.run_async([current.blank.bindings], on_end)
        except Exception:
            self._end(current)  # its next burst says why

    def _submit(self, current: "_Configuration", buffers: Sequence[Array]) -> "list[_Slot]":
        """Runs one burst from slots that are nobody's until it has ended."""
        ended = threading.Event()
        outcome: list[Any] = []

        def on_end(completion_info: Any) -> None:
            outcome.append(completion_info.exception)
            ended.set()

        try:
            slots = [self._slot(current) for _ in buffers]
            for slot, buffer in zip(slots, buffers, strict=True):
                slot.take(self.fit.input.name, buffer)
            with self._submission:  # between check and act another burst could take the room
                if not self._take_room(current, len(slots), BURST_TIMEOUT_S):
                    raise BurstLost("no room in the card's queue")
                current.model.wait_for_async_ready(timeout_ms=READY_TIMEOUT_MS, frames_count=len(slots))
                current.model.run_async([slot.bindings for slot in slots], on_end)
        except Exception as error:
            self._end(current)
            raise BurstLost(f"{self.network.name}: the card took no burst ({describe(error)})") from error
        if not ended.wait(BURST_TIMEOUT_S):
            self._end(current)
            raise BurstLost(f"{self.network.name}: a burst did not end within {BURST_TIMEOUT_S:g} s")
        self._give_room(current, len(slots))
        if outcome[0] is not None:
            self._end(current)
            raise BurstLost(f"{self.network.name}: the card lost a burst ({describe(outcome[0])})")
        return slots

    def _take_room(self, current: "_Configuration", frames: int, timeout: float) -> bool:
        """Keeps frames in flight within the queue, however many bursts several cards take at a time."""

        def free() -> bool:
            return not current.alive or current.flying + frames <= current.queue

        with self._counts:
            if not self._counts.wait_for(free, timeout) or not current.alive:
                return False
            current.flying += frames
            return True

    def _give_room(self, current: "_Configuration", frames: int) -> None:
        with self._counts:
            current.flying -= frames
            self._counts.notify_all()

    def _buffer(self, frame: Array) -> Array:
        """The frame as HailoRT wants it: right type, size and order, contiguous, writable."""
        if frame.shape != self._frame or frame.dtype != np.dtype(self.intake.dtype):
            raise EngineFault(
                f"{self.network.name} takes {self.intake.dtype} {self._frame}, not {frame.dtype} {frame.shape}. "
                "Please report it with the log."
            )
        if isinstance(self.network.input, TextInput):
            return self._quantised(frame)
        if frame.flags.c_contiguous and frame.flags.writeable:
            return frame
        return np.array(frame, order="C")

    def _quantised(self, frame: Array) -> Array:
        """Half to even, as HailoRT rounds; values beyond the stream's limits are clipped as it clips them."""
        stream = self.fit.input
        scale, zero_point = uniform_quantisation(stream)
        top = np.iinfo(stream.dtype).max
        levels = np.clip(frame, *stream.limits) / np.float32(scale) + np.float32(zero_point)
        quantised: Array = np.clip(np.rint(levels), 0, top).astype(stream.dtype)
        return quantised

    # ----------------------------------------------------------------- slots

    def _slot(self, current: "_Configuration") -> "_Slot":
        try:
            return current.free.popleft()
        except IndexError:
            return self._new_slot(current)

    def _new_slot(self, current: "_Configuration") -> "_Slot":
        arrays = {s.name: np.empty(s.shape, s.dtype) for s in self.fit.group.outputs}
        return _Slot(current.model.create_bindings(output_buffers=arrays), arrays)

    def _named(self, slot: "_Slot", home: "deque[_Slot]") -> Outputs:
        """The slot's arrays by role; when the last of them is dropped, the slot is free again."""
        loan = _Loan(slot, home)
        named: dict[str, Tensor] = {}
        for role, (binding, stream, (scales, zero_points)) in self._outputs.items():
            raw = np.asarray(_Lent(slot.arrays[stream.name], loan))
            if len(scales) == 1:
                named[role] = Tensor(binding.canonical(raw, self._frame), scales[0], zero_points[0])
            else:  # integers of two channels cannot be compared: what decodes them gets the real numbers
                real = (raw - np.array(zero_points, np.float32)) * np.array(scales, np.float32)
                named[role] = Tensor(binding.canonical(real, self._frame))
        return named


class _Slot:
    """The bindings and the arrays of one frame."""

    def __init__(self, bindings: Any, arrays: dict[str, Array]) -> None:
        self.bindings = bindings
        self.arrays = arrays
        self._input: Array | None = None

    def take(self, name: str, buffer: Array) -> None:
        self.bindings.input(name).set_buffer(buffer)
        self._input = buffer  # the card reads it until the burst ends


@dataclass(eq=False)
class _Configuration:
    """The network on the card, from one configure() to its loss. `flying`: frames sent and not ended.

    Each keeps its own free slots: those of an earlier one may still be in flight when the next begins.
    """

    model: Any
    queue: int
    free: deque[_Slot] = field(default_factory=deque)
    flying: int = 0
    blank: _Slot | None = None
    blank_sent: bool = False
    alive: bool = True


class _Loan:
    """Gives its slot back when nothing refers to it any more."""

    def __init__(self, slot: _Slot, home: deque[_Slot]) -> None:
        self._slot, self._home = slot, home

    def __del__(self) -> None:
        self._home.append(self._slot)


class _Lent:
    """An array's memory, together with the loan it belongs to: views of it keep the loan alive."""

    def __init__(self, array: Array, loan: _Loan) -> None:
        self.__array_interface__ = array.__array_interface__
        self._held = (array, loan)


def _frame_shape(network: Network) -> tuple[int, ...]:
    spec = network.input
    return (spec.height, spec.width, 3) if isinstance(spec, PictureInput) else (spec.tokens, spec.width)
