"""What an engine is: something that opens a network's file and runs lists of frames.

To add an engine: a room here that fulfils `Engine`, and a function in `select.py` that makes it
from the settings. Code above the engines asks for `capabilities`, never for the name, which is
only for logs and pages. The contract tests in `tests/contract/test_engine_contract.py` run over
every engine. Engines know nothing of tasks or HTTP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ml_target.catalogue.types import ModelFile, Network
from ml_target.errors import TaskOff
from ml_target.figures.observer import RecoveryKind
from ml_target.system.finding import Finding
from ml_target.tensors import Array, Outputs


@dataclass(frozen=True, slots=True)
class Intake:
    """What one frame of an opened network looks like.

    `shape`: of one frame, None where the file takes any size (pictures: H x W x 3 uint8; text:
    (tokens,) ids or (tokens, width) embeddings). `dtype`: numpy's name for the type to pass.
    """

    shape: tuple[int | None, ...]
    dtype: str

    @property
    def is_ids(self) -> bool:
        """True for a text tower that looks tokens up in its own table."""
        return len(self.shape) == 1


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do and what suits it: plain data that never changes, valid even before `start`.

    For scheduling:
    `lanes`: how many bursts it runs at a time.
    `own_lane`: it can run one more, interactive burst beside those at once.
    `fuller_pays`: each burst has a fixed cost, so it is worth waiting until it is fuller.
    `queues_ahead`: the device holds one more burst in its own queue and starts it by itself.
    `unloads`: `Engine.unload` frees memory.

    For tasks:
    `beside_host`: it computes on a device of its own, beside the processor.
    `text_layout`: its text towers take token embeddings and leave the rest to the host, in a layout that the file
    does not record: it has to be found by trial, which takes the text weights.
    `compiled`: what its files compute cannot be read from them, as they are compiled for it; the catalogue says it.

    `Engine.files` lists the files it opens.
    """

    lanes: int = 1
    own_lane: bool = False
    fuller_pays: bool = False
    queues_ahead: bool = False
    unloads: bool = False
    beside_host: bool = False
    text_layout: bool = False
    compiled: bool = False


class LoadedNetwork(Protocol):
    """One opened network. `run` blocks and may be called from several threads."""

    intake: Intake
    max_batch: int
    roles: Mapping[str, tuple[int, ...]]
    """Role -> shape of that output for a frame of the catalogue's size."""

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        """Runs frames of one shape, at most `max_batch`. Raises EngineFault; Unavailable under `doubt`."""

    def close(self) -> None: ...


class Engine(Protocol):
    """Opens files. One engine for the life of the process."""

    name: str
    """For logs and pages."""

    capabilities: Capabilities

    @property
    def device(self) -> str:
        """What networks run on, in words; includes the kind of card once that is known."""

    def files(self, network: Network) -> tuple[ModelFile, ...]:
        """The files of a network that this engine can run, first choice first."""

    def check(self, file: Path, network: Network) -> None:
        """Raises DamagedFileError, and ModelError for another network. Touches no device."""

    def start(self) -> None:
        """Opens the device, after every file has been checked. Raises DeviceError with the remedy."""

    def open(self, file: Path, network: Network) -> LoadedNetwork:
        """Opens and warms up. Raises ModelError when the file does not fit the catalogue entry, DamagedFileError
        when it is damaged."""

    def about(self) -> list[Finding]:
        """What the device and its library are, and whether anything slows them down; blocking. For the page."""

    def health(self) -> dict[str, float]:
        """The device's own readings, such as `temperature_c`; blocking, cached for some seconds."""

    def doubt(self, network: LoadedNetwork) -> TaskOff | None:
        """Why a network's answers cannot be trusted, with the remedy; None while they can. May change at any time."""

    def recover(self, network: LoadedNetwork) -> RecoveryKind:
        """Gets a network that lost a burst going again, blocking; says what that took.

        Raises DeviceError: try again later. Raises CardHangs: answer all requests, then end the process.
        """

    def rest(self) -> None:
        """Gives back memory that was kept for the next burst; called when nothing has been asked for some seconds."""

    def unload(self) -> None:
        """Gives back the networks' memory, too; they answer again after `reload`. Nothing runs meanwhile."""

    def reload(self) -> None:
        """Undoes `unload`, blocking. Raises Unavailable with the remedy; may be called again then."""

    def close(self) -> None: ...
