"""Compares files with the catalogue, with their own checksums, and with those recorded at first use.

Our own code, as the record is our own format (a JSON file that can be edited); filelock keeps a second process out.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from errno import ENOLCK, ENOSYS, ENOTSUP
from pathlib import Path

from filelock import FileLock, Timeout

from ml_target.catalogue.types import ModelFile
from ml_target.errors import ModelError
from ml_target.remedies import damaged
from ml_target.store import verify
from ml_target.system.folders import writable
from ml_target.system.record import write_json
from ml_target.transfer import content

log = logging.getLogger(__name__)

FILE_NAME = "checksums.json"
LOCK = ".fetching"


@dataclass(frozen=True, slots=True)
class Entry:
    """`size` (bytes) and `mtime_ns` show whether the file has changed since its hash was taken.

    `mtime_ns` 0: the hash was taken, but the file has not been examined.
    """

    sha256: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path, sha256: str) -> "Entry":
        """The entry for the file as it is now."""
        stat = path.stat()
        return cls(sha256, stat.st_size, stat.st_mtime_ns)

    def untouched(self, path: Path) -> bool:
        """True when the file still has the recorded size and time."""
        return self == Entry.of(path, self.sha256)


class Ledger:
    """`checksums.json` in one folder. Files elsewhere are entered with their full path."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME

    def get(self, path: Path, kind: str = "") -> Entry | None:
        """The recorded entry. Raises ModelError if the record itself cannot be read."""
        return self._read().get(self._key(path, kind))

    def put(self, path: Path, entry: Entry, kind: str = "") -> None:
        """Records a file, atomically. `kind` distinguishes files that share a name. Raises OSError."""
        entries = {**self._read(), self._key(path, kind): entry}
        write_json(self.path, {key: asdict(entries[key]) for key in sorted(entries)})

    def _key(self, path: Path, kind: str) -> str:
        name = path.name if path.parent == self.path.parent else path.as_posix()
        return f"{name} ({kind})" if kind else name

    def _read(self) -> dict[str, Entry]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            return {str(k): Entry(str(v["sha256"]), int(v["size"]), int(v["mtime_ns"])) for k, v in content.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{self.path} cannot be read ({error})",
                "It holds the checksums of the model files; restore it, or delete it to have them recorded again.",
            ) from error


class Record:
    """Verifies files and keeps the record of their checksums.

    The record is kept beside the files or, if their folder is read-only, in the folder that `spare` returns.
    """

    def __init__(self, spare: Callable[[], Path]) -> None:
        self._spare = spare
        self._no_folder_logged = False

    def check(self, file: ModelFile, path: Path, *, fresh: bool = False) -> str:
        """Verifies a file and returns its SHA-256 (hex), which is recorded.

        A recorded file that has not changed since is not read again, unless `fresh`.
        Raises DamagedFileError, and ModelError for a HEF of another chip.
        """
        for name in verify.mapped_files(file).values():
            beside = path.with_name(name)  # only the record can verify it
            if beside.exists():
                self._pin(None, beside, "", fresh=fresh)
        entry = self._recall(path, file.chip or "")
        if entry is not None and not fresh and entry.untouched(path):
            sha256 = entry.sha256
            verify.require_published(file, path, sha256)
        else:
            sha256 = self.examine(file, path, path)
            self.enter(file, path, sha256)
        if file.chip and file.size not in (None, path.stat().st_size):
            log.warning("%s is whole, but of another release than the catalogue's: its size differs", path)
        return sha256

    def pin(self, file: ModelFile, path: Path) -> None:
        """Records the file's checksum; if one is recorded, it must match. The next check examines the file.

        Raises DamagedFileError if it is empty, a web page or an LFS pointer, and if it is not the published or the
        recorded file; ModelError for another chip.
        """
        verify.require_content(path)
        verify.require_chip(file, path)
        self._pin(file, path, file.chip or "", fresh=False)
        for name in verify.mapped_files(file).values():
            if path.with_name(name).exists():
                verify.require_content(path.with_name(name))
                self._pin(None, path.with_name(name), "", fresh=False)

    def examine(self, file: ModelFile, path: Path, home: Path) -> str:
        """Reads every byte of the file at `path`, whose final path is `home`; returns its SHA-256.

        One that is not there yet goes by its final name in errors. Raises DamagedFileError: damaged, not the published
        file, not the one on record. ModelError: for another chip.
        """
        name = str(path) if path == home else home.name
        sha256 = content.sha256_of(path, name)
        if sha256 != file.sha256:
            verify.require_sound(file, path, name)
            verify.require_published(file, path, sha256, name)
            self._require_recorded(path, sha256, self._recall(home, file.chip or ""), name)
        verify.require_chip(file, path, name)
        return sha256

    def compare(self, path: Path, home: Path) -> str:
        """SHA-256 (hex) of the file at `path`, which is in no catalogue and whose final path is `home`.

        Raises DamagedFileError, which calls it by its final name, if it is not the one on record.
        """
        sha256 = content.sha256_of(path, home.name)
        self._require_recorded(path, sha256, self._recall(home, ""), home.name)
        return sha256

    def enter(self, file: ModelFile | None, path: Path, sha256: str, *, examined: bool = True) -> None:
        """Records the file if a record can be written. `file` None: it is not in the catalogue."""
        kind = (file and file.chip) or ""
        known = self._recall(path, kind)
        entry = Entry.of(path, sha256) if examined else replace(Entry.of(path, sha256), mtime_ns=0)
        for ledger in self._ledgers(path):
            if writable(ledger.path.parent):
                try:
                    ledger.put(path, entry, kind)
                except OSError as error:
                    log.warning(
                        "%s cannot be written (%s): checksums are taken again at every start", ledger.path, error
                    )
                else:
                    if known is None and (file is None or file.sha256 is None):
                        log.info(
                            "no checksum of %s is published: from now on it has to be SHA-256 %s, as recorded in %s",
                            path.name,
                            sha256,
                            ledger.path,
                        )
                return
        if not self._no_folder_logged:  # once: an image with models in it has no such folder, and many files
            log.info("no folder to record checksums in: they are taken again at every start")
            self._no_folder_logged = True

    def _pin(self, file: ModelFile | None, path: Path, kind: str, *, fresh: bool) -> None:
        """Records the checksum without examining the file."""
        entry = self._recall(path, kind)
        if entry is not None and not fresh and entry.untouched(path):
            return
        sha256 = content.sha256_of(path)
        if file is not None:
            verify.require_published(file, path, sha256)
        self._require_recorded(path, sha256, entry)
        # The published checksum is as good as an examination; of other files only the record can tell.
        self.enter(file, path, sha256, examined=file is None or file.sha256 is not None)

    def _require_recorded(self, path: Path, sha256: str, entry: Entry | None, name: str = "") -> None:
        if entry is not None and entry.sha256 != sha256:
            where = " or ".join(str(ledger.path) for ledger in self._ledgers(path) if ledger.path.exists())
            raise damaged(
                f"{name or path} is not the file that was first used under this name: its SHA-256 is {sha256}, on "
                f"record is {entry.sha256}",
                first=f"If it was replaced on purpose, delete its entry in {where}",
            )

    def _recall(self, path: Path, kind: str) -> Entry | None:
        return next((entry for ledger in self._ledgers(path) if (entry := ledger.get(path, kind))), None)

    def _ledgers(self, path: Path) -> Iterator[Ledger]:
        folders = dict.fromkeys((path.parent, self._spare()))
        return (Ledger(folder) for folder in folders)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Waits until no other process fetches into `folder`; does not wait where locks do not work."""
    # Not the library's substitute for flock, which would outlive a killed process.
    lock = FileLock(folder / LOCK, fallback_to_soft=False)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            log.info("another process is fetching into %s, waiting for it", folder)
            lock.acquire()
    except (NotImplementedError, OSError) as error:
        if isinstance(error, NotImplementedError) or error.errno in (ENOSYS, ENOTSUP, ENOLCK):
            log.debug("no file locks in %s (%s)", folder, error)
        else:
            log.warning(
                "%s cannot be locked (%s), so a second fetch at the same time would disturb this one. Run one at a "
                "time, or let the worker's user write that file.",
                folder / LOCK,
                error.strerror or error,
            )
    try:
        yield
    finally:
        lock.release()
