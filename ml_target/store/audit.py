"""Compares files with the catalogue, with themselves and with what they were at first use."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from ml_target.catalogue.types import ModelFile
from ml_target.remedies import damaged
from ml_target.store import verify
from ml_target.store.ledger import Entry, Ledger
from ml_target.system.folders import writable

log = logging.getLogger(__name__)


class Audit:
    """Verifies files and keeps the record of their checksums.

    The record lies beside the files; where that folder is read-only, in the folder `spare` names.
    """

    def __init__(self, spare: Callable[[], Path]) -> None:
        self._spare = spare
        self._told = False

    def check(self, file: ModelFile, path: Path, *, fresh: bool = False) -> str:
        """Verifies a file and returns its SHA-256 (hex), which goes on record.

        A file on record that has not been touched since is not read again, unless `fresh`.
        Raises DamagedFileError, and ModelError for a HEF of another chip.
        """
        for companion in companions(file, path.parent):
            if companion.exists():
                self._check_bytes(companion, fresh=fresh)
        kind = file.chip or ""
        entry = self._recall(path, kind)
        if entry is not None and not fresh and entry.untouched(path):
            sha256 = entry.sha256
            verify.require_published(file, path, sha256)
        else:
            sha256 = self.examine(file, path, path)
            self.enter(path, sha256, kind)
        if file.chip and file.size not in (None, path.stat().st_size):
            log.warning("%s is whole, but of another release than the catalogue's: its size differs", path)
        return sha256

    def examine(self, file: ModelFile, path: Path, home: Path) -> str:
        """Looks at every byte of the file at `path`, whose place is or will be `home`; returns its SHA-256.

        Raises DamagedFileError: damaged, not the published file, not the one on record. ModelError: for another chip.
        """
        sha256 = verify.sha256_of(path)
        if sha256 != file.sha256:
            verify.require_sound(file, path)
            verify.require_published(file, path, sha256)
            self._require_recorded(path, sha256, self._recall(home, file.chip or ""))
        verify.require_chip(file, path)
        return sha256

    def enter(self, path: Path, sha256: str, kind: str = "") -> None:
        """Puts the file on record where a record can be written."""
        for ledger in self._ledgers(path):
            if writable(ledger.path.parent):
                try:
                    ledger.put(path, Entry.of(path, sha256), kind)
                except OSError as error:
                    log.warning(
                        "%s cannot be written (%s): checksums are taken anew at every start", ledger.path, error
                    )
                return
        if not self._told:  # once: an image with models in it has no such folder, and many files
            log.info("no folder to record checksums in: they are taken anew at every start")
            self._told = True

    def _check_bytes(self, path: Path, *, fresh: bool) -> None:
        """For a file that has no entry in the catalogue: only the record speaks for it."""
        entry = self._recall(path, "")
        if entry is None or fresh or not entry.untouched(path):
            sha256 = verify.sha256_of(path)
            self._require_recorded(path, sha256, entry)
            self.enter(path, sha256)

    def _require_recorded(self, path: Path, sha256: str, entry: Entry | None) -> None:
        if entry is not None and entry.sha256 != sha256:
            where = " or ".join(str(ledger.path) for ledger in self._ledgers(path) if ledger.path.exists())
            raise damaged(
                f"{path} is not the file that was first used under this name: its SHA-256 is {sha256}, on record is "
                f"{entry.sha256}",
                first=f"If it was replaced on purpose, delete its entry in {where}",
            )

    def _recall(self, path: Path, kind: str) -> Entry | None:
        return next((entry for ledger in self._ledgers(path) if (entry := ledger.get(path, kind))), None)

    def _ledgers(self, path: Path) -> Iterator[Ledger]:
        folders = dict.fromkeys((path.parent, self._spare()))
        return (Ledger(folder) for folder in folders)


def companions(file: ModelFile, folder: Path) -> Iterator[Path]:
    """Files of arrays that may lie beside a file, because they are too large to be in it."""
    return (folder / name for name in verify.mapped_files(file).values())
