"""Arrays for the card to write into: its own until their burst has ended well, the caller's from then on.

HailoRT copies a burst's answers into its arrays whatever became of it, and for a burst that was
given up it does so as late as in the closing of the configured model. So the arrays of a burst are
its configuration's from submission on, and leave it only when the burst has ended well. The
binding's own guards do not help: they are dropped in the order of callbacks, so one that never
came lets the arrays of the burst behind it go too early (seen with 4.23.0).

Arrays are used again when nobody looks at their answer any more (`lend`): HailoRT copies into them, and
a copy into new memory took 0.33 ms where 0.02 ms do, for a map of 0.5 MB (measured in a virtual machine);
a burst of eight lines of text has 6 MB. Nobody above has to give anything back for it, which a task that
keeps a view of an answer, or fails half-way, could not do in time.
"""

import weakref
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml_target.tensors import Array


class Slot:
    """The bindings of one frame, and the arrays of the burst that it is in or was in last."""

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

    `flying`: frames sent and not ended. `alive`: nothing was lost. `aborted`: a burst was, as by a
    thermal stop. Each keeps its own slots: those of an earlier one may still be written to when the
    next begins.
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
        """One that is nobody's, until it is taken back."""
        try:
            return self._free.popleft()
        except IndexError:
            return Slot(self.model.create_bindings())

    def spare(self, stream: str) -> Array | None:
        """An array of this output that nobody looks at any more; None where there is none."""
        try:
            return self._spare[stream].popleft()
        except IndexError:
            return None

    def hand_out(self, slots: Sequence[Slot]) -> None:
        """These go to the card: inputs and outputs stay alive until they are back or the model has gone."""
        self._out.update((id(slot), slot) for slot in slots)

    def take_back(self, slots: Sequence[Slot]) -> list[dict[str, Array]]:
        """Their burst has ended well: nothing writes to them any more. Gives its answers."""
        answers = [{name: lend(array, self._spare[name]) for name, array in slot.answers.items()} for slot in slots]
        for slot in slots:
            del self._out[id(slot)]
        self._free.extend(slots)
        return answers

    def forget_lost(self) -> None:
        """The configured model has gone, so nobody writes to what was lost with it."""
        self._out.clear()


def lend(array: Array, home: deque[Array]) -> Array:
    """The array as it is given to a caller: when the last view of it has gone, it is put back into `home`.

    Every view keeps the memory's owner alive, which is a memoryview of this loan alone.
    """
    lent: Array = np.asarray(array.data)
    back = weakref.finalize(lent.base, home.append, array)
    back.atexit = False
    return lent
