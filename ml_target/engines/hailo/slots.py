"""Arrays that HailoRT writes into: owned by the configuration until their burst succeeds, then by the caller.

HailoRT copies a burst's answers into its arrays even after a failure, and for an abandoned burst as
late as when the configured model is closed. So the configuration owns a burst's arrays from
submission on, and gives them up only when the burst has succeeded. The binding's own guards do not
help: they are dropped in the order of callbacks, so a callback that never comes releases the arrays
of the next burst too early (seen with 4.23.0).

Arrays are reused once no view of their answer is left (`lend`). HailoRT copies into them, and copying a
map of 0.5 MB into new memory took 0.33 ms instead of 0.02 ms (measured in a virtual machine); a burst of
eight lines of text has 6 MB. Callers have nothing to give back, which a task that keeps a view of an
answer, or fails half-way, could not do in time.
"""

import weakref
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml_target.tensors import Array


class Slot:
    """The bindings of one frame, and the arrays of its current or last burst."""

    def __init__(self, bindings: Any) -> None:
        self.bindings = bindings
        self.answers: Mapping[str, Array] = {}
        self._given: Array | None = None

    def take(self, name: str, given: Array, answers: Mapping[str, Array]) -> None:
        """Sets the input, which the card reads until the burst ends, and where the answers go."""
        self.bindings.input(name).set_buffer(given)
        for output, array in answers.items():
            self.bindings.output(output).set_buffer(array)
        self._given, self.answers = given, answers


@dataclass(eq=False)
class Configuration:
    """The network on the card, from one configure() to its loss.

    `flying`: frames sent and not ended. `alive`: nothing was lost. `aborted`: a burst was aborted, as
    by a thermal stop. Each configuration keeps its own slots: those of an earlier one may still be
    written to when the next begins.
    """

    model: Any
    queue: int
    alive: bool = True
    aborted: bool = False
    flying: int = 0
    blank: Slot | None = None
    blank_sent: bool = False
    _free: deque[Slot] = field(default_factory=deque)
    _spare: defaultdict[str, deque[Array]] = field(default_factory=lambda: defaultdict(deque))
    _out: dict[int, Slot] = field(default_factory=dict)

    def slot(self) -> Slot:
        """A free slot, to be used until it is taken back."""
        try:
            return self._free.popleft()
        except IndexError:
            return Slot(self.model.create_bindings())

    def spare(self, stream: str) -> Array | None:
        """An array of this output that is no longer in use; None if there is none."""
        try:
            return self._spare[stream].popleft()
        except IndexError:
            return None

    def hand_out(self, slots: Sequence[Slot]) -> None:
        """Marks these as sent: inputs and outputs stay alive until they are taken back or the model is gone."""
        self._out.update((id(slot), slot) for slot in slots)

    def take_back(self, slots: Sequence[Slot]) -> list[dict[str, Array]]:
        """Frees the slots of a burst that has succeeded: nothing writes to them any more. Returns its answers."""
        answers = [{name: lend(array, self._spare[name]) for name, array in slot.answers.items()} for slot in slots]
        for slot in slots:
            del self._out[id(slot)]
        self._free.extend(slots)
        return answers

    def forget_lost(self) -> None:
        """Drops what was lost: the configured model is gone, so nothing writes to it any more."""
        self._out.clear()


def lend(array: Array, home: deque[Array]) -> Array:
    """The array for a caller: when the last view of it is gone, it goes back into `home`.

    Every view of the array, not of its `.base`, keeps the memory's owner alive, which is a memoryview of this loan
    alone.
    """
    lent: Array = np.asarray(array.data)
    back = weakref.finalize(lent.base, home.append, array)
    back.atexit = False
    return lent
