"""The plain data that models exchange with tasks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One output of one frame, as it left the engine.

    `values` may be integers (Hailo) or floats (CPU, scale 1, zero point 0);
    the real number behind a value is ``(value - zero_point) * scale``, scale > 0.
    Thresholds and arg-max work on `values` directly, because that map is monotonic.
    """

    values: Array
    scale: float = 1.0
    zero_point: float = 0.0

    def real(self, index: Any = ...) -> Float32:
        """The real numbers at `index` (all by default), float32."""
        picked: Float32 = np.asarray(self.values[index], dtype=np.float32)
        if self.scale == 1.0 and self.zero_point == 0.0:
            return picked
        real: Float32 = (picked - np.float32(self.zero_point)) * np.float32(self.scale)
        return real

    def raw(self, real: float) -> float:
        """The (fractional) stored value that stands for `real`, to compare `values` with."""
        return real / self.scale + self.zero_point


Outputs = Mapping[str, Tensor]
"""The outputs of one frame, by role (`score_8`, `embedding`, `probability`, …)."""
