"""Checksums on record: what a file was when it was first used, so that a later change is noticed."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ml_target.errors import ModelError

FILE_NAME = "checksums.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """`size` (bytes) and `mtime_ns` tell whether the file has been touched since its hash was taken."""

    sha256: str
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path, sha256: str) -> "Entry":
        """The entry for the file as it lies there."""
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
        """What is on record. Raises ModelError when the record itself cannot be read."""
        return self._read().get(self._key(path, kind))

    def put(self, path: Path, entry: Entry, kind: str = "") -> None:
        """Enters a file, at once and atomically. `kind` tells files apart that share one name. Raises OSError."""
        entries = {**self._read(), self._key(path, kind): entry}
        part = self.path.with_name(f"{FILE_NAME}.{os.getpid()}.part")
        text = json.dumps({key: asdict(entries[key]) for key in sorted(entries)}, indent=1)
        try:
            part.write_text(text + "\n", encoding="utf-8")
            with part.open("rb+") as written:  # a power cut must not leave an empty record under the right name
                os.fsync(written.fileno())
            part.replace(self.path)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

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
                "It holds the checksums of the model files; restore it, or delete it to have them recorded anew.",
            ) from error
