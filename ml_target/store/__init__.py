"""The model files: which exist, where to get the missing ones, and whether they are intact.

Our own code, as the choice of source, mirror and folder is specific to this project.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ml_target import remedies
from ml_target.catalogue.types import ModelFile
from ml_target.errors import DamagedFileError, FetchError, MissingFileError, ModelError
from ml_target.store import verify
from ml_target.store.download import Progress, discard, resumable, writing
from ml_target.store.offers import Mirror, Offer, upstream
from ml_target.store.record import Record, ReplacedFileError, exclusive
from ml_target.store.sources import Sources
from ml_target.store.web import SourceError
from ml_target.store.weights import load_text_weights
from ml_target.system.folders import writable

__all__ = ["Progress", "Store", "fetch_arguments", "load_text_weights"]

log = logging.getLogger(__name__)

HUB = "https://huggingface.co"
DAMAGED = ".damaged"
"""Suffix of a damaged file that was set aside."""


class Store:
    """The folder with the model files, and the ways to fill it.

    `spare`: a second folder that is read too, and written when `folder` is read-only. `mirror`: a
    folder or address that is tried before the internet. `progress` None: transfers are silent.
    """

    def __init__(
        self,
        folder: Path,
        *,
        spare: Path | None = None,
        mirror: str = "",
        hf_endpoint: str = HUB,
        progress: Progress | None = None,
    ) -> None:
        self.folder = folder
        self._spare = spare if spare != folder else None
        self._mirror = Mirror.at(mirror) if mirror else None
        self._hub = hf_endpoint
        self._sources = Sources(progress or Progress(None))
        self._record = Record(lambda: self.target)
        self._warned: set[str] = set()

    @property
    def target(self) -> Path:
        """Where fetch writes: the folder, or the spare one when the folder is read-only."""
        if self._spare is not None and not writable(self.folder):
            return self._spare
        return self.folder

    def fallback(self) -> str:
        """A warning if the folder in use is not the one that was named; "" if it is."""
        if self._spare is None:
            return ""
        if not _is_folder(self.folder):
            to = f"what is fetched goes to {self.target}"
            return f"MODELS_DIR={self.folder} is not there: model files are taken from {self._spare}, and {to}."
        if self.target == self._spare:
            return f"MODELS_DIR={self.folder} cannot be written: what is fetched goes to {self._spare}."
        return ""

    def copies(self, file: ModelFile) -> list[Path]:
        """Every copy of it, by name or alias, in the folder and then in the spare one. Nothing is read."""
        folders = filter(None, (self.folder, self._spare))
        paths = (folder / name for folder in folders for name in (file.name, *file.aliases))
        return [path for path in paths if _is_file(path)]

    def find(self, file: ModelFile) -> Path | None:
        """The first copy of the file; None if there is none. Nothing is read: it may be damaged."""
        return next(iter(self.copies(file)), None)

    def sound(self, file: ModelFile, *, fresh: bool = False) -> Path:
        """The first undamaged copy of the file.

        Raises MissingFileError if there is no copy, DamagedFileError if every copy is damaged, and ModelError as
        `check` does.
        """
        damages: list[DamagedFileError] = []
        for path in self.copies(file):
            damage = self._damage(file, path, fresh)
            if damage is None:
                return path
            damages.append(damage)
        if not damages:
            raise self.missing(file)
        raise all_damaged(damages)

    def missing(self, file: ModelFile) -> MissingFileError:
        """The error for a file that is missing, with the remedy."""
        reason, remedy = f"{file.name} is not there", self._put(file)
        if not file.sources:
            reason += " and nobody publishes it" + (f" ({file.note})" if file.note else "")
        else:
            remedy = f"run {remedies.fetch(*fetch_arguments(file))}, {remedy}"
        return MissingFileError(reason, remedy, f"{file.name} is missing")

    def _tell_spare(self, path: Path) -> None:
        """Warns once for each file taken from the spare folder, unless fallback() has warned about the folder."""
        if path.parent != self._spare or path.name in self._warned or not _is_folder(self.folder):
            return
        if not _is_file(self.folder / path.name):
            self._warned.add(path.name)
            log.warning("%s is not in MODELS_DIR=%s: the one in %s is taken.", path.name, self.folder, self._spare)

    def check(self, file: ModelFile, path: Path, *, fresh: bool = False) -> str:
        """Verifies a file and returns its SHA-256 (hex), which is recorded.

        A recorded file that has not changed since is not read again, unless `fresh`.
        Raises DamagedFileError: damaged, or not what the catalogue or the record says. ModelError: for another chip.
        """
        self._tell_spare(path)
        try:
            return self._record.check(file, path, fresh=fresh)
        except OSError as error:
            raise remedies.unreadable(path, error) from error
        except DamagedFileError as damage:
            raise self.with_remedy(file, damage) from damage.__cause__

    def _damage(self, file: ModelFile, path: Path, fresh: bool) -> DamagedFileError | None:
        try:
            self.check(file, path, fresh=fresh)
        except DamagedFileError as damage:
            return damage
        return None

    @staticmethod
    def with_remedy(file: ModelFile, damage: DamagedFileError) -> DamagedFileError:
        """The same error with the remedy for this file, which may be for a chip that fetch has to be told."""
        cause = f"{file.name} is damaged"
        if damage.first is None:
            return DamagedFileError(damage.reason, damage.remedy, cause)
        return remedies.damaged(damage.reason, *fetch_arguments(file), first=damage.first, cause=cause)

    def pin(self, file: ModelFile, path: Path) -> None:
        """Records the checksum of the file at `path`, if none is published; the next check examines the file.

        Raises DamagedFileError if it is plainly something else (empty, a web page, an LFS pointer), and if it is not
        the published or the recorded file; ModelError for another chip.
        """
        try:
            self._record.pin(file, path)
        except OSError as error:
            raise remedies.unreadable(path, error) from error

    def fetch(self, file: ModelFile) -> Path:
        """The path of the file. If it is missing or damaged, a good one is fetched first, and verified.

        A damaged file is kept as `<name>.damaged` when it is replaced, and stays if no source has a good one.
        Raises FetchError with every attempt, why it failed, and the remedy; ModelError for a HEF of another chip.
        """
        found, damage = self._look(file)
        if found is not None:
            return found
        target = self.target
        what = "is damaged and cannot be replaced" if damage else "cannot be fetched"
        if not writable(target):
            way = "Give the worker's user write permission (chown, chmod, or mount it writable)"
            if remedies.fetched_outside():
                way = f"Run {remedies.fetch()}"
            raise FetchError(f"{file.name} {what}: {target} cannot be written", f"{way}, or {self._put(file)}")
        try:
            with writing(target):
                target.mkdir(parents=True, exist_ok=True)
            with exclusive(target):
                found, damage = self._look(file)
                return found or self._fetch(file, target)
        except FetchError as error:
            if damage:
                words = f"{damage.reason}. A good one could not be fetched, and the damaged one stays"
                raise FetchError(f"{words}: {error}") from error
            raise FetchError(f"{file.name} could not be fetched: {error}") from error

    def _look(self, file: ModelFile) -> tuple[Path | None, DamagedFileError | None]:
        """A sound copy, if there is one; otherwise what is wrong with a damaged one."""
        try:
            return self.sound(file), None
        except MissingFileError:
            return None, None
        except DamagedFileError as damage:
            return None, damage

    def _fetch(self, file: ModelFile, target: Path) -> Path:
        attempts: list[str] = []
        for offer in self._offers(file, attempts):
            if path := self._try(file, offer, target, attempts):
                return path
        if not attempts:
            raise FetchError(f"nobody publishes it; {self._put(file)}")
        lines = "".join(f"\n - {attempt}" for attempt in attempts)
        raise FetchError(f"{lines}\nOtherwise, {self._put(file)}")

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
            # The remedy is dropped: the user does not have this file, as it has been deleted again.
            words = error.reason if isinstance(error, DamagedFileError) else str(error)
            if isinstance(error, ReplacedFileError):
                words = f"{words}. {self._record.replaced_remedy(part)}"
            for path in (home, *mapped.values()):
                words = words.replace(f"{path}.part", path.name)
            raise SourceError(f"what came from there is refused: {words}") from error
        with writing(target):
            if home.exists():
                set_aside(home)
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

    def _put(self, file: ModelFile) -> str:
        names = " or ".join((file.name, *file.aliases))
        folder = remedies.folder_words(self.folder)
        return f"put {names} into {folder}, or point MODELS_MIRROR at a folder or address that has it."


def all_damaged(damages: Sequence[DamagedFileError]) -> DamagedFileError:
    """One error for all damaged copies of a file; at least one."""
    first, reasons = damages[0], dict.fromkeys(damage.reason for damage in damages)
    return DamagedFileError("; ".join(reasons), first.remedy, first.cause, first.first)


def set_aside(path: Path) -> None:
    """Keeps a damaged file as `<name>.damaged`, and says so. Raises OSError."""
    kept = path.replace(path.with_name(f"{path.name}{DAMAGED}"))
    log.warning("%s was damaged and is replaced by a good one; it is kept as %s, to be deleted", path, kept.name)


def fetch_arguments(file: ModelFile) -> tuple[str, ...]:
    """Arguments for fetching this file: without them, fetch gets the files for a Hailo-8."""
    return ("--engine", "hailo", "--chip", file.chip) if file.chip == "hailo8l" else ()


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # it may well exist: `find` raises if it cannot be read
        return True


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:  # a folder that this user may not read is not an empty one
        raise ModelError(
            f"{path.parent} cannot be looked into ({error.strerror or error})",
            "Give this user the right to (chmod or chown on the host), or set MODELS_DIR to another folder.",
        ) from error
