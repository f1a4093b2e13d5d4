"""Arrays for the card to write into: reused while all goes well, kept from everybody after a loss.

HailoRT copies a burst's answers into its arrays whatever became of it, and for a burst that was
given up it does so as late as in the closing of the configured model. So the arrays of a burst are
its configuration's from submission on, and leave it only when the burst has ended well. The
binding's own guards do not help: they are dropped in the order of callbacks, so one that never
came lets the arrays of the burst behind it go too early (seen with 4.23.0).
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml_target.tensors import Array


class Slot:
    """The bindings and the arrays of one frame."""

    def __init__(self, bindings: Any, arrays: dict[str, Array]) -> None:
        self.bindings = bindings
        self.arrays = arrays
        self._input: Array | None = None

    def take(self, name: str, buffer: Array) -> None:
        """Sets the input, which the card reads until the burst ends."""
        self.bindings.input(name).set_buffer(buffer)
        self._input = buffer


@dataclass(eq=False)
class Configuration:
    """The network on the card, from one configure() to its loss.

    `flying`: frames sent and not ended. `alive`: nothing was lost. `aborted`: a burst was, as by a
    thermal stop. Each keeps its own slots: those of an earlier one may still be written to when the
    next begins.
    """

    model: Any
    queue: int
    alive: bool = True
    aborted: bool = False
    free: deque[Slot] = field(default_factory=deque)
    flying: int = 0
    blank: Slot | None = None
    blank_sent: bool = False
    _out: dict[int, Slot] = field(default_factory=dict)

    def hand_out(self, slots: Sequence[Slot]) -> None:
        """These go to the card: inputs and outputs stay alive until they are back or the model has gone."""
        self._out.update((id(slot), slot) for slot in slots)

    def take_back(self, slots: Sequence[Slot]) -> None:
        """Their burst has ended well: nothing writes to them any more."""
        for slot in slots:
            del self._out[id(slot)]

    def forget_lost(self) -> None:
        """The configured model has gone, so nobody writes to what was lost with it."""
        self._out.clear()


class Loan:
    """Gives its slot back when nothing refers to it any more."""

    def __init__(self, slot: Slot, home: deque[Slot]) -> None:
        self._slot, self._home = slot, home

    def __del__(self) -> None:
        self._home.append(self._slot)


class Lent:
    """An array's memory, together with the loan it belongs to: views of it keep the loan alive."""

    def __init__(self, array: Array, loan: Loan) -> None:
        self.__array_interface__ = array.__array_interface__
        self._held = (array, loan)


def lent(array: Array, loan: Loan) -> Array:
    """The array as it may be given to a caller."""
    return np.asarray(Lent(array, loan))
