"""Fetches a model file: from each of its offers in turn, until one gives what the catalogue and the record expect.

Our own code, as the order of mirror and sources is specific to this project.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from ml_target.catalogue.types import ModelFile
from ml_target.errors import DamagedFileError, FetchError, ModelError
from ml_target.store import verify
from ml_target.store.offers import Mirror, Offer, upstream
from ml_target.store.record import Record
from ml_target.store.sources import Sources
from ml_target.transfer.download import discard, resumable, writing
from ml_target.transfer.progress import Progress
from ml_target.transfer.web import SourceError, Web

log = logging.getLogger("ml_target.store")

DAMAGED = ".damaged"
"""Suffix of a damaged file that was set aside."""


class Fetching:
    """The ways to a file. `mirror`: a folder or address that is tried before all others; `hub`: Hugging Face's address.

    Raises SettingsError for a mirror that is not an address.
    """

    def __init__(self, record: Record, mirror: str, hub: str, progress: Progress, web: Web | None) -> None:
        self._record = record
        self._mirror = Mirror.at(mirror) if mirror else None
        self._hub = hub
        self._sources = Sources(progress, web)

    def fetch(self, file: ModelFile, target: Path, by_hand: str) -> Path:
        """The path of the file, fetched into `target` and verified. `by_hand`: what to do where nothing has it.

        Raises FetchError with every attempt and why it failed.
        """
        attempts: list[str] = []
        for offer in self._offers(file, attempts):
            if path := self._try(file, offer, target, attempts):
                return path
        if not attempts:
            raise FetchError("nobody publishes it", by_hand, separator="; ")
        lines = "".join(f"\n - {attempt}" for attempt in attempts)  # each with what helps there
        raise FetchError(lines, f"Otherwise, {by_hand}", separator="\n")

    def _try(self, file: ModelFile, offer: Offer, target: Path, attempts: list[str]) -> Path | None:
        try:
            return self._take(file, offer, target)
        except SourceError as error:
            attempts.append(f"{offer}: {error}")
            return None

    def _offers(self, file: ModelFile, attempts: list[str]) -> Iterator[Offer]:
        """The mirror's offers, then the file's own. A mirror folder without the file is noted in `attempts`."""
        if self._mirror is not None:
            offers = list(self._mirror.offers(file))
            if isinstance(self._mirror.base, Path):
                wanted = ", ".join(dict.fromkeys(Path(str(offer.where)).name for offer in offers))
                offers = [offer for offer in offers if Path(offer.where).is_file()]
                if not offers:
                    attempts.append(f"mirror {self._mirror.base}: it has none of {wanted}")
            yield from offers
        yield from upstream(file, self._hub)

    def _take(self, file: ModelFile, offer: Offer, target: Path) -> Path:
        """Fetches one offer into the target folder, under the file's own name. Raises SourceError."""
        home = target / file.name
        part = home.with_name(f"{file.name}.part")
        mapped = {array: target / name for array, name in verify.mapped_files(file).items()}
        parts = {array: path.with_name(f"{path.name}.part") for array, path in mapped.items()}
        try:
            self._sources.bring(offer, part, parts, file.name)
        except SourceError:
            for unfinished in (part, *parts.values()):
                if not resumable(unfinished):
                    discard(unfinished)
            raise
        arrays = self._companions(offer, mapped, parts)
        try:
            tables = {mapped[array]: self._record.compare(parts[array], mapped[array]) for array in arrays}
            with writing(target):
                for array in arrays:
                    parts[array].replace(mapped[array])
            sha256 = self._record.examine(file, part, home)
        except FetchError:
            raise
        except ModelError as error:
            for refused in (part, *parts.values()):
                discard(refused)
            # Without "fetch it again": this file has been deleted, and another source is asked.
            remedy = error.first or "" if isinstance(error, DamagedFileError) else error.remedy
            raise SourceError(f"what came from there is refused: {error.reason}", remedy, separator=". ") from error
        with writing(target):
            if home.exists():
                _set_aside(home)
            part.replace(home)
        self._record.enter(file, home, sha256)
        for path, digest in tables.items():
            self._record.enter(None, path, digest)
        return home

    def _companions(self, offer: Offer, mapped: Mapping[str, Path], parts: Mapping[str, Path]) -> list[str]:
        """The arrays that are whole in `parts`: cut out with the file, or brought here from beside a ready-made one.

        One that is not to be had there may be inside the file.
        """
        if offer.plan is not None:
            return [array for array in mapped if array in offer.plan.tensors]
        brought = []
        for array, path in mapped.items():
            with suppress(SourceError):
                self._sources.bring(offer.beside(path.name), parts[array], {}, path.name)
                brought.append(array)
        return brought


def _set_aside(path: Path) -> None:
    """Keeps a damaged file as `<name>.damaged`, and says so. Raises OSError."""
    kept = path.replace(path.with_name(f"{path.name}{DAMAGED}"))
    log.warning("%s was damaged and is replaced by a good one; it is kept as %s, to be deleted", path, kept.name)
