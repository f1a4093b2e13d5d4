"""The files that are served: for each network the first intact one, found before half a task is on a device."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_target.catalogue.types import ModelFile, Network
from ml_target.engines import Engine
from ml_target.errors import DamagedFileError, MissingFileError
from ml_target.store import Store, all_damaged

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """An intact file. `note`: what to know about it, such as the damaged file that it replaces."""

    path: Path
    sha256: str
    note: str = ""


class Shelf:
    """The files of one start; each is checked once. Not thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._damaged: dict[Path, DamagedFileError] = {}
        self._taken: dict[tuple[str, str], Taken] = {}

    def has(self, engine: Engine, network: Network) -> bool:
        """Whether a file is there for this network, intact or not."""
        return bool(self._candidates(engine, network))

    def inspect(self, engine: Engine, network: Network) -> None:
        """Lets the engine check the files up to the first intact one; damage is reported when a file is taken.

        Raises ModelError for another network.
        """
        any(self._passes(engine, path, network) for _, path in self._candidates(engine, network))

    def complete(self, networks: Sequence[tuple[Engine, Network]], files: Sequence[ModelFile]) -> bool:
        """Whether all of these will be loaded, as far as that is known before the device is open."""
        try:
            for file in files:
                self.file(file)
            return all(self._promises(engine, network) for engine, network in networks)
        except (MissingFileError, DamagedFileError):
            return False

    def _promises(self, engine: Engine, network: Network) -> bool:
        candidates = self._candidates(engine, network)
        if any(file.chip for file, _ in candidates):  # only the card tells which build it has to be
            return any(path not in self._damaged for _, path in candidates)
        return bool(self.network(engine, network))

    def network(self, engine: Engine, network: Network) -> Taken:
        """The file of a network. Raises MissingFileError, DamagedFileError; ModelError for another chip's HEF."""
        key = (engine.name, network.name)
        if key not in self._taken:
            choices = engine.files(network)
            if not choices:
                words = f"{network.name} has no file for engine {engine.name}"
                raise MissingFileError(words, "choose another network or engine.", words)
            self._taken[key] = self._first_sound(choices[0], self._candidates(engine, network))
        return self._taken[key]

    def file(self, file: ModelFile) -> Taken:
        """A vocabulary, dictionary or weights. Raises as `network` does."""
        key = ("", file.name)
        if key not in self._taken:
            self._taken[key] = self._first_sound(file, [(file, path) for path in self._store.copies(file)])
        return self._taken[key]

    def _candidates(self, engine: Engine, network: Network) -> list[tuple[ModelFile, Path]]:
        return [(file, path) for file in engine.files(network) for path in self._store.copies(file)]

    def _passes(self, engine: Engine, path: Path, network: Network) -> bool:
        try:
            engine.check(path, network)
        except DamagedFileError as damage:
            self._damaged[path] = damage
            return False
        return True

    def _first_sound(self, wanted: ModelFile, candidates: Sequence[tuple[ModelFile, Path]]) -> Taken:
        if not candidates:
            raise self._store.missing(wanted)
        damages: list[DamagedFileError] = []
        for file, path in candidates:
            outcome = self._check(file, path)
            if isinstance(outcome, str):
                return _taken(file, path, outcome, damages)
            damages.append(outcome)
        raise all_damaged(damages)

    def _check(self, file: ModelFile, path: Path) -> str | DamagedFileError:
        """The hash, or what is wrong. The store's message comes first: it recognises what a file has become."""
        try:
            sha256 = self._store.check(file, path)
        except DamagedFileError as damage:
            return damage
        found = self._damaged.get(path)
        return sha256 if found is None else self._store.with_remedy(file, found)


def _taken(file: ModelFile, path: Path, sha256: str, damages: Sequence[DamagedFileError]) -> Taken:
    """The file; where it replaces damaged ones, the log says so and the note keeps it."""
    if not damages:
        return Taken(path, sha256, file.note)
    damage = all_damaged(damages)
    log.error("%s serves in the place of a damaged file. %s", path, damage)
    note = f"in the place of a damaged file: {damage.reason}"
    return Taken(path, sha256, f"{file.note}; {note}" if file.note else note)
