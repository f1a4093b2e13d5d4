"""One configured model: its frames in flight, its status, its callback thread (docs/hailort.md §2.3 to §2.5, §9.2).

Arrays are not kept here: the binding keeps them in guards that it drops in the order of callbacks,
and the card writes by address. A write into an array that was let go meanwhile is noted as a crash.
"""

import _thread
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hailo_sim import status as codes
from hailo_sim.formats import UserStream
from hailo_sim.networks import Array
from hailo_sim.scheduler import CoreOp
from hailo_sim.status import fail

if TYPE_CHECKING:
    from hailo_sim.device import OpenDevice

INTERNAL_TIMEOUT = 10.0
Buffers = Mapping[str, Array]
JUNK = 0xA5


@dataclass(eq=False, slots=True)
class Job:
    """Frames submitted together.

    `left`: frames not completed, `unwritten`: whose outputs are not in the caller's arrays yet.
    `finished`: all frames completed; `called`: its callback returned.
    """

    callback: Callable[[int], None]
    left: int
    unwritten: int
    status: int = 0
    finished: bool = False
    called: bool = False
    abandoned: bool = False


@dataclass(eq=False, slots=True)
class Frame:
    """One frame in flight. The arrays are the caller's own: read when the card runs, written at completion.

    `lost`: nothing will be said of it before its model is closed; later frames end before it.
    """

    pipeline: "Pipeline"
    job: Job
    inputs: "Addresses"
    outputs: "Addresses"
    results: Mapping[str, Array] = field(default_factory=dict)
    status: int = 0
    done: bool = False
    lost: bool = False


class Addresses:
    """Arrays by name, without keeping them alive."""

    def __init__(self, buffers: Buffers) -> None:
        self._arrays = {name: weakref.ref(array) for name, array in buffers.items()}

    def at(self, name: str) -> Array | None:
        """The array, None where it was let go."""
        return self._arrays[name]()


class Pipeline:
    """What `configure()` gives. All state belongs to the rig's lock."""

    def __init__(
        self, device: "OpenDevice", core_op: CoreOp, inputs: Sequence[UserStream], outputs: Sequence[UserStream]
    ) -> None:
        self.device, self.core_op = device, core_op
        self.inputs, self.outputs = inputs, outputs
        self.name = core_op.name
        self.status = 0
        self.closed = False
        self.outstanding: dict[Frame, None] = {}
        self.moved_at = 0.0
        self._completed: deque[Frame] = deque()
        self._thread = 0
        self._thread_ended = threading.Event()
        self._starting = 0
        self._rig = device.rig
        self._counts = self._rig.record.models[self.name]

    # -------------------------------------------------------------- submission

    def ready_for(self, frames: int) -> bool:
        """The real test: occupancy against twice the queue size (§2.3)."""
        return len(self.outstanding) + frames < 2 * self.core_op.queue_size

    def submit(self, requests: Sequence[tuple[Buffers, Buffers]], callback: Callable[[int], None]) -> Job:
        """As `_submit`; the first one makes the callback thread, and not safely for two at once (§2.5-9)."""
        first = not self._thread
        self._starting += first
        if self._starting > 1:
            self._rig.note_crash(f"two first submissions of {self.name} at once")
        try:
            return self._submit(requests, callback)
        finally:
            self._starting -= first

    def _submit(self, requests: Sequence[tuple[Buffers, Buffers]], callback: Callable[[int], None]) -> Job:
        """Pushes frames one after the other; the first that fails ends the model for good (§2.5-6, -7)."""
        with self._rig.lock:
            if self.status:
                self._rig.record.say(f"Can't handle inference request since pipeline status is {self.status}")
                fail(self.status)
            self._start_thread()
            job = Job(callback, len(requests), len(requests))
            for inputs, outputs in requests:
                status = self._check(inputs, outputs)
                if status:
                    job.abandoned = True
                    self._counts.refused += 1
                    self.die(codes.STREAM_ABORT)
                    fail(status)
                self._push(Frame(self, job, Addresses(inputs), Addresses(outputs)))
                if self._rig.list_split:
                    self.device.kick()
            for _ in range(0 if self._rig.list_split else len(requests)):
                self.device.kick()
            self._counts.submissions += 1
            return job

    def _check(self, inputs: Buffers, outputs: Buffers) -> int:
        """Buffers by byte size only (§2.4); room; without the scheduler, activation (§5.4)."""
        if not self.device.scheduled and self.device.active is not self:
            return codes.STREAM_NOT_ACTIVATED
        for kind, streams, buffers in (("Input", self.inputs, inputs), ("Output", self.outputs, outputs)):
            for stream in streams:
                if stream.name not in buffers:
                    return codes.NOT_FOUND if kind == "Input" else codes.INVALID_OPERATION
                actual = buffers[stream.name].nbytes
                if actual != stream.frame_bytes:
                    self._rig.record.say(
                        f"{kind} buffer size {actual} is different than expected {stream.frame_bytes} "
                        f"for {kind.lower()} '{stream.name}'"
                    )
                    return codes.INVALID_OPERATION
        if self.ready_for(1):
            return 0
        self._rig.record.say("Can't handle infer request since a queue in the pipeline is full.")
        return codes.QUEUE_IS_FULL

    def _push(self, frame: Frame) -> None:
        if len(self.outstanding) <= self.core_op.queue_size:
            self.moved_at = self._rig.clock.now()
        self.outstanding[frame] = None
        self._counts.max_in_flight = max(self._counts.max_in_flight, len(self.outstanding))
        together = sum(len(pipeline.outstanding) for pipeline in self._rig.pipelines())
        self._rig.record.most_in_flight = max(self._rig.record.most_in_flight, together)
        self.core_op.fifo.append(frame)

    # -------------------------------------------------------------- completion

    @property
    def stalls_at(self) -> float:
        """When the internal timeout strikes: more frames than the queue holds, and none moved (§2.5-10)."""
        overfull = len(self.outstanding) > self.core_op.queue_size
        return self.moved_at + INTERNAL_TIMEOUT if overfull else float("inf")

    def complete(self, frame: Frame, status: int) -> None:
        """A frame is done, well or not. The caller hears in order of submission, but for lost frames (§2.5-3)."""
        if frame not in self.outstanding or frame.done:
            return
        frame.done, frame.status = True, status
        self.moved_at = self._rig.clock.now()
        for head in list(self.outstanding):
            if head.done:
                self._finish(head)
            elif not head.lost:
                break

    def _finish(self, frame: Frame) -> None:
        del self.outstanding[frame]
        status = frame.status
        job = frame.job
        job.left -= 1
        job.status = job.status or status
        job.finished = job.left == 0
        self._counts.completed += 1
        self._counts.failed += status != 0
        self._completed.append(frame)
        self._rig.lock.notify_all()

    def die(self, status: int) -> None:
        """The pipeline is shut down: everything in flight is aborted, nothing is taken any more."""
        if self.status:
            return
        self.status = status
        self._rig.record.say(f"Shutting down the pipeline with status {codes.name(status)}({status})")
        own = set(self.outstanding)
        kept = [frame for frame in self.core_op.fifo if frame not in own]
        self.core_op.fifo.clear()
        self.core_op.fifo.extend(kept)
        for frame in list(self.outstanding):
            self.complete(frame, status)
        self.device.abort(self)

    def close(self, *, join: bool = True) -> None:
        """The C++ destructor: aborts, lets the callbacks run, joins their thread (§2.3). Without the GIL.

        Frames that were lost without a word are called back now, and their arrays written to (§9.2).
        With a card that is gone it does not come back while frames are owed. `join` is off where the
        garbage collector calls: it may come anywhere, even under the lock.
        """
        with self._rig.lock:
            if self.closed:
                return
            if join:
                self._rig.clock.wait(lambda: not self._hangs())
                self.device.left_busy(bool(self.outstanding))
            self.die(codes.STREAM_ABORT)
            self.closed = True
            self._counts.closed += 1
            self._rig.lock.notify_all()
        if join and self._thread and self._thread != threading.get_ident():
            self._thread_ended.wait()
        self.device.forget(self, join=join)

    def _hangs(self) -> bool:
        deaf = self.device.deaf and bool(self.outstanding) and not self._rig.faults.forgiven
        return deaf or self._rig.faults.teardown_hangs("model")

    def lose(self) -> None:
        """What is in flight ends without a word; the card goes on with the other models."""
        for frame in self.outstanding:
            frame.lost = True
        self.device.drop(self)

    # ---------------------------------------------------------------- callbacks

    def _start_thread(self) -> None:
        """One thread a configured model, made by the first submission (§2.5-9); Python did not start it (§9.2)."""
        if not self._thread:
            self._rig.clock.enter()
            self._thread = _thread.start_new_thread(self._call_back, ())

    def _call_back(self) -> None:
        while self._call_back_once():  # no local may keep a frame, and so the caller's model, alive while waiting
            pass
        self._thread_ended.set()

    def _call_back_once(self) -> bool:
        with self._rig.lock:
            self._rig.clock.wait(lambda: bool(self._completed) or self.closed, actor=True)
            if not self._completed:
                self._rig.clock.leave()
                return False
            frame = self._completed.popleft()
        self._deliver(frame)
        return True

    def _deliver(self, frame: Frame) -> None:
        """Copies the outputs into the caller's arrays (junk after a failure, §2.4), then calls back once a list."""
        for stream in self.outputs:
            array = frame.outputs.at(stream.name)
            if array is None:
                self._rig.note_crash(f"late write into an array of {self.name} that was let go")
                continue
            target = array.reshape(-1).view(np.uint8)
            if frame.status or stream.name not in frame.results:
                target[:] = JUNK
            else:
                target[:] = stream.to_user(frame.results[stream.name]).reshape(-1).view(np.uint8)
        self._counts.dma_allocations += len(self.outputs)
        job = frame.job
        frame.results = {}
        job.unwritten -= 1
        if job.unwritten or job.abandoned:
            return
        try:
            job.callback(job.status)
        except BaseException as error:
            self._rig.note_crash(f"callback of {self.name} raised {error!r}: std::terminate")
        with self._rig.lock:
            self._counts.callbacks += 1
            job.called = True
            self._rig.lock.notify_all()
