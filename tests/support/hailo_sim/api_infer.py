"""`ConfiguredInferModel` and what belongs to it (docs/hailort.md §2.3, §2.5)."""

import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hailo_sim import status as codes
from hailo_sim.api_bindings import Bindings as FrameBindings
from hailo_sim.errors import HailoRTException, exception_of, translated
from hailo_sim.networks import Array
from hailo_sim.pipeline import Buffers, Job, Pipeline
from hailo_sim.scheduler import CoreOp
from hailo_sim.status import fail

if TYPE_CHECKING:
    from hailo_sim.api_model import InferModel

HIGHEST_PRIORITY = 31


class AsyncInferCompletionInfo:
    """`exception`: None, or what went wrong: not raised, without a cause."""

    def __init__(self, exception: HailoRTException | None) -> None:
        self._exception = exception

    @property
    def exception(self) -> HailoRTException | None:
        return self._exception


class AsyncInferJob:
    """A list of frames in flight. Dropping it is safe (§2.5-5)."""

    def __init__(self, pipeline: Pipeline, job: Job) -> None:
        self._pipeline = pipeline
        self._job = job

    def wait(self, timeout_ms: float) -> None:
        """For the frames, then again as long for the callback; succeeds whatever their status (§2.5-1, -2)."""
        rig = self._pipeline.device.rig
        with translated(), rig.lock:
            for done in (lambda: self._job.finished, lambda: self._job.called):
                if not rig.clock.wait(done, rig.clock.now() + timeout_ms / 1e3):
                    fail(codes.TIMEOUT)


class Configured:
    """The C++ object inside: when it goes, the pipeline is shut down."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.rig = pipeline.device.rig

    @property
    def core_op(self) -> CoreOp:
        return self.pipeline.core_op

    def run_async(self, bindings: Sequence[FrameBindings], callback: Callable[[int], None]) -> Job:
        requests: list[tuple[Buffers, Buffers]] = []
        for frame in bindings:
            outputs = frame.buffers([s.name for s in self.pipeline.outputs], frame.output)
            if len(outputs) < len(self.pipeline.outputs):
                fail(codes.INVALID_OPERATION)  # in the binding, before anything is submitted (§2.4)
            requests.append((frame.buffers([s.name for s in self.pipeline.inputs], frame.input), outputs))
        return self.pipeline.submit(requests, callback)

    def wait_for_async_ready(self, timeout: float, frames: int) -> None:
        """Room alone counts: a dead model is ready (docs/hailort.md §9.1)."""
        with self.rig.lock:
            pipeline = self.pipeline
            ready = self.rig.clock.wait(lambda: pipeline.ready_for(frames), self.rig.clock.now() + timeout)
        if not ready:
            fail(codes.TIMEOUT)

    def scheduled(self) -> CoreOp:
        """The scheduler's settings; 6 where there is no scheduler."""
        if not self.pipeline.device.scheduled:
            fail(codes.INVALID_OPERATION)
        return self.core_op

    def activate(self) -> None:
        device = self.pipeline.device
        with self.rig.lock:
            if device.scheduled:
                self.rig.record.say("Manually activate a core-op is not allowed when the core-op scheduler is active!")
                fail(codes.INVALID_OPERATION)
            if device.active is not None:
                self.rig.record.say("Cant activate network because a network is already activated")
                fail(codes.INVALID_OPERATION)
            device.active = self.pipeline
            device.kick()

    def deactivate(self) -> None:
        device = self.pipeline.device
        with self.rig.lock:
            if device.scheduled or device.active is not self.pipeline:
                fail(codes.INVALID_OPERATION)
            device.active = None

    def shutdown(self) -> None:
        """Holds the GIL that the completions need: with frames in flight it stalls (§2.5)."""
        if self.pipeline.outstanding:
            self.rig.clock.spend(self.rig.shutdown_stall)
        with self.rig.lock:
            self.pipeline.die(codes.STREAM_ABORT)

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.pipeline.close(join=False)


class ConfiguredInferModel:
    """A model on the device."""

    Bindings = FrameBindings

    def __init__(self, configured: Configured, infer_model: "InferModel") -> None:
        self._configured_infer_model: Any = configured
        self._input_names = infer_model.input_names
        self._output_names = infer_model.output_names
        self._infer_model = infer_model
        self._buffer_guards: deque[list[Array | None]] = deque()

    def __enter__(self) -> "ConfiguredInferModel":
        return self

    def __exit__(self, *exc: object) -> None:
        configured, self._configured_infer_model = self._configured_infer_model, None
        if configured is not None:
            configured.pipeline.close()

    def activate(self) -> None:
        with translated():
            self._configured_infer_model.activate()

    def deactivate(self) -> None:
        with translated():
            self._configured_infer_model.deactivate()

    def create_bindings(
        self,
        input_buffers: Mapping[str, Array] | None = None,
        output_buffers: Mapping[str, Array] | None = None,
    ) -> FrameBindings:
        """The buffers of one frame."""
        rig = self._configured_infer_model.rig
        rig.hold_gil("bindings")
        rig.record.models[self._configured_infer_model.pipeline.name].bindings += 1
        bindings = FrameBindings(self._input_names, self._output_names)
        for name, buffer in (input_buffers or {}).items():
            bindings.input(name).set_buffer(buffer)
        for name, buffer in (output_buffers or {}).items():
            bindings.output(name).set_buffer(buffer)
        return bindings

    def wait_for_async_ready(self, timeout_ms: float = 1000, frames_count: int = 1) -> None:
        with translated():
            self._configured_infer_model.wait_for_async_ready(timeout_ms / 1e3, frames_count)

    def run(self, bindings: Sequence[FrameBindings], timeout: float) -> None:
        """No callback, so nobody learns of a failure."""
        with translated():
            self.run_async(bindings).wait(timeout)

    def run_async(
        self, bindings: Sequence[FrameBindings], callback: Callable[..., None] | None = None
    ) -> AsyncInferJob:
        """`callback(completion_info=...)` comes from the model's callback thread, once a list."""
        buffers: list[Array | None] = []
        for frame in bindings:
            buffers += [frame.input(name).get_buffer() for name in self._input_names]
            buffers += [frame.output(name).get_buffer(None) for name in self._output_names]
        self._buffer_guards.append(buffers)  # stays behind when the submission fails (§2.5-8)

        def completed(status: int) -> None:
            if callback:
                callback(completion_info=AsyncInferCompletionInfo(exception_of(status) if status else None))
            self._buffer_guards.popleft()

        with translated():
            job = self._configured_infer_model.run_async([frame.get() for frame in bindings], completed)
        return AsyncInferJob(self._configured_infer_model.pipeline, job)

    def set_scheduler_timeout(self, timeout_ms: float) -> None:
        with translated():
            self._configured_infer_model.scheduled().timeout = timeout_ms / 1e3
        self._kick()

    def set_scheduler_threshold(self, threshold: int) -> None:
        with translated():
            core_op = self._configured_infer_model.scheduled()
            if core_op.dyn and threshold > core_op.batch:
                self._configured_infer_model.rig.record.say(
                    "Threshold must be equal or lower than the maximum batch size!"
                )
                fail(codes.INVALID_ARGUMENT)
            core_op.threshold = threshold
        self._kick()

    def set_scheduler_priority(self, priority: int) -> None:
        with translated():
            core_op = self._configured_infer_model.scheduled()
            if not 0 <= priority <= HIGHEST_PRIORITY:
                fail(codes.INVALID_ARGUMENT)
            core_op.priority = priority
        self._kick()

    def get_async_queue_size(self) -> int:
        with translated():
            size: int = self._configured_infer_model.core_op.queue_size
            return size

    def shutdown(self) -> None:
        with translated():
            self._configured_infer_model.shutdown()

    def _kick(self) -> None:
        """A changed setting wakes the scheduler (§5.2)."""
        with self._configured_infer_model.rig.lock:
            self._configured_infer_model.pipeline.device.kick()
