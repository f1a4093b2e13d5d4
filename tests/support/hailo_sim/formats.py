"""What the caller sees of a stream: its type, and the conversion the library does on the host (docs/hailort.md §4)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hailo_sim import status as codes
from hailo_sim.enums import FormatType
from hailo_sim.hef_file import Stream
from hailo_sim.networks import Array, dequantise, native
from hailo_sim.status import fail

_SIZES = {int(FormatType.UINT8): 1, int(FormatType.UINT16): 2, int(FormatType.FLOAT32): 4}
_DTYPES: dict[int, type[Any]] = {1: np.uint8, 2: np.uint16, 3: np.float32}


def native_type(stream: Stream) -> FormatType:
    """The type on the wire."""
    return FormatType.UINT8 if stream.bits == 8 else FormatType.UINT16


@dataclass(frozen=True, slots=True)
class UserStream:
    """A stream as a configured model holds it: fixed at configure()."""

    stream: Stream
    type: int

    @property
    def name(self) -> str:
        return self.stream.name

    @property
    def frame_bytes(self) -> int:
        return self.stream.elements * _SIZES[self.type]

    def check(self) -> None:
        """Narrowing is refused, and widening an input (docs/hailort.md §2.2, §4.1)."""
        wire, asked = int(native_type(self.stream)), self.type
        if asked == wire or asked == int(FormatType.FLOAT32):
            return
        if not (self.stream.is_output and asked > wire):
            fail(codes.INVALID_ARGUMENT)

    def from_user(self, buffer: Array) -> Array:
        """The caller's bytes as native integers, H x W x C; whatever shape and dtype the array had."""
        values: Array = buffer.reshape(-1).view(np.uint8).view(_DTYPES[self.type]).reshape(self.stream.shape)
        if values.dtype == native(self.stream):
            return values
        quant = self.stream.quant
        real = np.clip(values, quant.low, quant.high) / np.float32(quant.scale) + np.float32(quant.zero_point)
        rounded: Array = np.rint(real).astype(native(self.stream))
        return rounded

    def to_user(self, raw: Array) -> Array:
        """Native integers as the type that was asked for; floats by each feature's own pair (docs/hailort.md §4.1)."""
        if self.type != int(FormatType.FLOAT32):
            return np.ascontiguousarray(raw.astype(_DTYPES[self.type], copy=False))
        quant = self.stream.quant
        if quant.uneven:
            return np.ascontiguousarray(dequantise(raw, self.stream))
        real: npt.NDArray[np.float32] = raw.astype(np.float32) - np.float32(quant.zero_point)
        return np.ascontiguousarray(real * np.float32(quant.scale))
