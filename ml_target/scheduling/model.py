"""A loaded model, as the tasks see it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ml_target.catalogue.types import Network
from ml_target.engines import Intake, LoadedNetwork
from ml_target.errors import TaskOff
from ml_target.scheduling.queue import ModelQueue
from ml_target.tensors import Array, Outputs


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which file serves a network, for the log and the status page."""

    file: str
    sha256: str
    engine: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """One network on one engine: `await model.infer(frames)`, and `coming` to announce frames.

    `queue`: where its frames wait, from the arbiter of its device. `doubt`: why its answers cannot be trusted now,
    None while they can.
    """

    network: Network
    queue: ModelQueue
    provenance: Provenance
    doubt: Callable[[], TaskOff | None] = lambda: None

    @property
    def loaded(self) -> LoadedNetwork:
        """The network as its engine has opened it."""
        return self.queue.network

    @property
    def intake(self) -> Intake:
        """Shape and dtype of one frame."""
        return self.loaded.intake

    async def infer(self, frames: Sequence[Array]) -> list[Outputs]:
        """The outputs of every frame, in order; frames of all requests share bursts.

        Frames are uint8 pictures in the catalogue's colour order, or text tensors, as `intake`
        says. Raises EngineFault when a frame fails, Unavailable when the device is lost.
        """
        return await self.queue.infer(frames)

    def coming(self, frames: int | None = 1) -> AbstractContextManager[None]:
        """Announces frames while the block prepares them: a burst may wait a moment for them.

        None: as many as usual, once another network of the request has answered.
        """
        return self.queue.coming(frames)
