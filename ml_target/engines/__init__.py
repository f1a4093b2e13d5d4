"""What an engine is: something that opens a network's file and runs lists of frames.

To add an engine: one module here that fulfils `Engine`, and one line in `ml_target/runtime/place.py` that makes
it. The contract tests in `tests/contract/test_engine_contract.py` hold for every engine.
Engines know nothing of tasks, HTTP or settings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ml_target.catalogue.types import ModelFile, Network
from ml_target.tensors import Array, Outputs


@dataclass(frozen=True, slots=True)
class Intake:
    """What one frame of an opened network looks like.

    `shape`: of one frame, None where the file takes any size (pictures: H x W x 3 uint8; text:
    (tokens,) ids or (tokens, width) embeddings). `dtype` is numpy's name of what to hand over.
    """

    shape: tuple[int | None, ...]
    dtype: str

    @property
    def is_ids(self) -> bool:
        """True for a text tower that looks its token table up itself."""
        return len(self.shape) == 1


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

    @property
    def device(self) -> str:
        """What networks run on, in words; the kind of card once it has been asked."""

    def files(self, network: Network) -> tuple[ModelFile, ...]:
        """The files of a network that this engine can run, first choice first."""

    def check(self, file: Path, network: Network) -> None:
        """Raises DamagedFileError, and ModelError for another network. Touches no device."""

    def start(self) -> None:
        """Opens the device, after every file has been checked. Raises DeviceError with the remedy."""

    def open(self, file: Path, network: Network) -> LoadedNetwork:
        """Opens and warms up; raises ModelError when the file does not fit the catalogue entry, DamagedFileError
        when it is no good."""

    def health(self) -> dict[str, float]:
        """What the device says of itself, such as `temperature_c`; blocking, cached for some seconds."""

    def doubt(self, network: LoadedNetwork) -> str:
        """Why a network's answers cannot be believed, with the remedy; "" while they can. May change at any time."""

    def recover(self, network: LoadedNetwork) -> None:
        """Gets a network that lost a burst going again, blocking.

        Raises DeviceError: try again later. Raises CardHangs: answer everybody, then leave the process.
        """

    def close(self) -> None: ...
