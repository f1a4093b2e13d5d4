"""What the simulator's own tests drive it with, through `hailo_platform` alone."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from hailo_sim.networks import Array


def row(name: str) -> pytest.MarkDecorator:
    """Names the section of docs/hailort.md in the test's id."""
    return pytest.mark.parametrize((), [pytest.param(id=name)])


@dataclass
class Outcome:
    """What came back for one list of frames."""

    bindings: list[Any]
    done: threading.Event = field(default_factory=threading.Event)
    infos: list[Any] = field(default_factory=list)
    job: Any = None

    def __call__(self, completion_info: Any) -> None:
        self.infos.append(completion_info)
        self.done.set()

    def result(self, timeout: float = 10.0) -> Any:
        """The completion's exception, or None."""
        assert self.done.wait(timeout), "the callback did not come"
        return self.infos[0].exception


class Driven:
    """One model on one device."""

    def __init__(self, vdevice: Any, hef: bytes, batch: int = 0, prepare: Callable[[Any], None] | None = None) -> None:
        self.infer = vdevice.create_infer_model(hef)
        self.infer.set_batch_size(batch)
        if prepare is not None:
            prepare(self.infer)
        self.model = self.infer.configure()

    def frames(self, count: int = 1, fill: int = 0) -> list[Any]:
        """Bindings with fresh arrays of the native size; frame i is filled with `fill + i`."""
        return [self.frame(fill + i) for i in range(count)]

    def frame(self, fill: int = 0) -> Any:
        inputs = {s.name: np.full(s.shape, fill, _dtype(s)) for s in self.infer.inputs}
        outputs = {s.name: np.zeros(s.shape, _dtype(s)) for s in self.infer.outputs}
        return self.model.create_bindings(inputs, outputs)

    def submit(self, frames: int | list[Any] = 1) -> Outcome:
        """Without waiting."""
        outcome = Outcome(self.frames(frames) if isinstance(frames, int) else frames)
        outcome.job = self.model.run_async(outcome.bindings, outcome)
        return outcome

    def one(self, fill: int = 0) -> Array:
        """The output of one frame."""
        outcome = self.submit([self.frame(fill)])
        assert outcome.result() is None
        buffer: Array = outcome.bindings[0].output(self.infer.output_names[0]).get_buffer()
        return buffer

    def close(self) -> None:
        self.model.__exit__(None, None, None)


def open_device(hailo: Any, *, scheduled: bool = True, **params: Any) -> Any:
    """A VDevice, with the scheduler unless said otherwise."""
    given = hailo.VDevice.create_params()
    if scheduled:
        given.scheduling_algorithm = hailo.HailoSchedulingAlgorithm.ROUND_ROBIN
    for name, value in params.items():
        setattr(given, name, value)
    return hailo.VDevice(given)


def _dtype(stream: Any) -> str:
    return {1: "uint8", 2: "uint16", 3: "float32"}[int(stream.format.type)]


def status_of(error: BaseException) -> int:
    """The number behind a raised exception (docs/hailort.md §1.4)."""
    cause = error.__cause__
    assert cause is not None
    return int(cause.args[0])
