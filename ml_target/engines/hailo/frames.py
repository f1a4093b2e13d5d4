"""What one frame of a network looks like to the caller, and to the card."""

from collections.abc import Callable, Mapping

import numpy as np

from ml_target.catalogue.types import Network, PictureInput, TextInput
from ml_target.engines import Intake
from ml_target.engines.hailo.fit import Fit
from ml_target.errors import EngineFault
from ml_target.hef.streams import channel_quantisation, uniform_quantisation
from ml_target.tensors import Array, Outputs, Tensor


class Frames:
    """Converts frames to what the card reads, and what it wrote to outputs by role.

    `intake`: what a frame has to be. `roles`: role -> shape. `size`: bytes of one frame as sent to the card;
    `both_ways`: with its answers.
    """

    def __init__(self, network: Network, fit: Fit) -> None:
        spec = network.input
        self._network = network
        self._fit = fit
        self._shape = (spec.height, spec.width, 3) if isinstance(spec, PictureInput) else (spec.tokens, spec.width)
        self.intake = Intake(self._shape, "uint8" if isinstance(spec, PictureInput) else "float32")
        self.size = int(np.prod(fit.input.shape)) * np.dtype(fit.input.dtype).itemsize
        self.both_ways = self.size + sum(
            int(np.prod(each.shape)) * np.dtype(each.dtype).itemsize for each in fit.group.outputs
        )
        # Looked up once: a text tower's file lists a pair for each of its hundreds of channels.
        self._scale, self._zero_point = map(np.float32, uniform_quantisation(fit.input))
        self._outputs = {b.output.role: (b, fit.output(b), channel_quantisation(fit.output(b))) for b in fit.bindings}
        self.roles: Mapping[str, tuple[int, ...]] = {
            role: b.canonical(np.empty(stream.shape, np.uint8), self._shape).shape
            for role, (b, stream, _) in self._outputs.items()
        }

    def given(self, frame: Array) -> Array:
        """The frame as HailoRT wants it: right type, size and order, contiguous, writable. Raises EngineFault."""
        if frame.shape != self._shape or frame.dtype != np.dtype(self.intake.dtype):
            raise EngineFault(
                f"{self._network.name} takes {self.intake.dtype} {self._shape}, not {frame.dtype} {frame.shape}",
                "Please report it with the log.",
            )
        if isinstance(self._network.input, TextInput):
            return self._quantised(frame)
        if frame.flags.c_contiguous and frame.flags.writeable:
            return frame
        return np.array(frame, order="C")

    def blank(self) -> Array:
        """An empty frame, as the card reads it."""
        return np.zeros(self._fit.input.shape, self._fit.input.dtype)

    def answers(self, spare: Callable[[str], Array | None]) -> dict[str, Array]:
        """Arrays for the card's answers to one frame, by stream; new ones where there is no `spare` one."""
        found = {stream: spare(stream.name) for stream in self._fit.group.outputs}
        return {s.name: np.empty(s.shape, s.dtype) if array is None else array for s, array in found.items()}

    def named(self, answers: Mapping[str, Array]) -> Outputs:
        """The arrays by role, in the catalogue's arrangement."""
        named: dict[str, Tensor] = {}
        for role, (binding, stream, (scales, zero_points)) in self._outputs.items():
            raw = answers[stream.name]
            if len(scales) == 1:
                named[role] = Tensor(binding.canonical(raw, self._shape), scales[0], zero_points[0])
            else:  # integers of different channels cannot be compared: the decoder gets real numbers
                real = (raw - np.array(zero_points, np.float32)) * np.array(scales, np.float32)
                named[role] = Tensor(binding.canonical(real, self._shape))
        return named

    def _quantised(self, frame: Array) -> Array:
        """Rounds half to even and clips to the stream's limits, as HailoRT does."""
        stream = self._fit.input
        top = np.iinfo(stream.dtype).max
        levels = np.clip(frame, *stream.limits)
        levels /= self._scale
        levels += self._zero_point
        np.rint(levels, out=levels)
        return np.clip(levels, 0, top, out=levels).astype(stream.dtype)
