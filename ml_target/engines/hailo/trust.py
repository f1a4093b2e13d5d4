"""Whether a network's answers can be believed: one fixed frame, asked again and again, must not change them.

The card computes bit by bit the same for the same frame. Where the bytes differ, its memory, its
power or its cooling is at fault, or its answers come one frame late after a fault: nothing that it
says may be stored.
"""

import hashlib
from collections.abc import Mapping

import numpy as np

from ml_target.catalogue.types import Network, PictureInput
from ml_target.tensors import Array

SEED = 7
REMEDY = (
    "Its task is off until the card has been opened anew and answers alike: restart the worker. If it comes back, "
    "cool the card, check its seat and its power supply, then replace it"
)


def fixed_frame(network: Network, limits: tuple[float, float]) -> Array:
    """Noise, the same for ever: it reaches every weight, as zeros would not. `limits`: of a text tower's input."""
    noise = np.random.default_rng(SEED)
    spec = network.input
    if isinstance(spec, PictureInput):
        return noise.integers(0, 256, (spec.height, spec.width, 3), np.uint8)
    return noise.uniform(*limits, (spec.tokens, spec.width)).astype(np.float32)


class Trust:
    """Compares the answers of one network to the fixed frame, over all its configurations."""

    def __init__(self) -> None:
        self._first: str | None = None

    def doubt(self, first: str, again: str) -> str:
        """Why two answers to the fixed frame cannot be believed, in words; "" where they can."""
        if first != again:
            return f"the card answered the same frame twice in different ways. {REMEDY}"
        if self._first is None:
            self._first = first
        if first != self._first:
            return f"the card answers the same frame otherwise than before it was lost. {REMEDY}"
        return ""


def digest(arrays: Mapping[str, Array]) -> str:
    """Tells answers apart by their bytes."""
    made = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        made.update(np.ascontiguousarray(arrays[name]).data)
    return made.hexdigest()
