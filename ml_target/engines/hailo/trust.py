"""Whether a network's answers can be trusted: the answer to one fixed frame must never change.

The card's answers to the same frame are identical bit by bit. If the bytes differ, its memory, its
power or its cooling is at fault, or its answers come one frame late after a fault: none of them may
be stored.
"""

import hashlib
from collections.abc import Mapping

import numpy as np

from ml_target.catalogue.types import Network, PictureInput
from ml_target.errors import TaskOff
from ml_target.tensors import Array

SEED = 7
REMEDY = (
    "Its task is off until the card has been reopened and answers alike: restart the worker. If it comes back, "
    "cool the card, check its seat and its power supply, then replace it."
)


def fixed_frame(network: Network, limits: tuple[float, float]) -> Array:
    """Noise, always the same: unlike zeros it reaches every weight. `limits`: of a text tower's input."""
    noise = np.random.default_rng(SEED)
    spec = network.input
    if isinstance(spec, PictureInput):
        return noise.integers(0, 256, (spec.height, spec.width, 3), np.uint8)
    return noise.uniform(*limits, (spec.tokens, spec.width)).astype(np.float32)


class Trust:
    """Compares one network's answers to the fixed frame, over all its configurations."""

    def __init__(self) -> None:
        self._first: str | None = None

    def doubt(self, first: str, again: str) -> TaskOff | None:
        """Why two answers to the fixed frame cannot be trusted; None if they can."""
        if first != again:
            return TaskOff("the card answered the same frame twice in different ways", REMEDY)
        if self._first is None:
            self._first = first
        if first != self._first:
            return TaskOff("the card answers the same frame differently than before it was lost", REMEDY)
        return None


def digest(arrays: Mapping[str, Array]) -> str:
    """A hash of the answers' bytes, hex."""
    made = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        made.update(np.ascontiguousarray(arrays[name]).data)
    return made.hexdigest()
