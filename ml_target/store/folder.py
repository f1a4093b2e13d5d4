"""The folder with the model files: which there are, whether they are intact, and what to do about those that are not.

Our own code, as the choice of folder and the remedies are specific to this project.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from ml_target import remedies
from ml_target.catalogue.types import DEFAULT_CHIP, ModelFile
from ml_target.config import Settings
from ml_target.errors import DamagedFileError, FetchError, MissingFileError, ModelError
from ml_target.store.fetching import Fetching
from ml_target.store.record import Record, exclusive
from ml_target.system.folders import writable
from ml_target.transfer.download import writing
from ml_target.transfer.progress import Progress
from ml_target.transfer.web import Web

log = logging.getLogger("ml_target.store")

HUB = Settings().hf_endpoint


class Store:
    """The folder with the model files, and the ways to fill it.

    `spare`: a second folder that is read too, and written when `folder` is read-only. `mirror`: a
    folder or address that is tried before the internet. `progress` None: transfers are silent. `web`: what opens
    addresses.
    """

    def __init__(
        self,
        folder: Path,
        *,
        spare: Path | None = None,
        mirror: str = "",
        hf_endpoint: str = HUB,
        progress: Progress | None = None,
        web: Web | None = None,
    ) -> None:
        self.folder = folder
        self._spare = spare if spare != folder else None
        self._record = Record(lambda: self.target)
        self._fetching = Fetching(self._record, mirror, hf_endpoint, progress or Progress(None), web)
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
                return found or self._fetching.fetch(file, target, self._put(file))
        except FetchError as error:
            what = f"{file.name} could not be fetched"
            if damage:
                what = f"{damage.reason}. A good one could not be fetched, and the damaged one stays"
            raise FetchError(f"{what}: {error.reason}", error.remedy, separator=error.separator) from error

    def _look(self, file: ModelFile) -> tuple[Path | None, DamagedFileError | None]:
        """A sound copy, if there is one; otherwise what is wrong with a damaged one."""
        try:
            return self.sound(file), None
        except MissingFileError:
            return None, None
        except DamagedFileError as damage:
            return None, damage

    def _put(self, file: ModelFile) -> str:
        names = " or ".join((file.name, *file.aliases))
        folder = remedies.folder_words(self.folder)
        return f"put {names} into {folder}, or point MODELS_MIRROR at a folder or address that has it."


def all_damaged(damages: Sequence[DamagedFileError]) -> DamagedFileError:
    """One error for all damaged copies of a file; at least one."""
    first, reasons = damages[0], dict.fromkeys(damage.reason for damage in damages)
    return DamagedFileError("; ".join(reasons), first.remedy, first.cause, first.first)


def fetch_arguments(file: ModelFile) -> tuple[str, ...]:
    """Arguments for fetching this file: without them, fetch gets those of the default chip."""
    return ("--engine", "hailo", "--chip", file.chip) if file.chip not in (None, DEFAULT_CHIP) else ()


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
            f"{path.parent} cannot be read ({error.strerror or error})",
            "Give this user the right to (chmod or chown on the host), or set MODELS_DIR to another folder.",
        ) from error
