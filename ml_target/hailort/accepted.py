"""Which files the owner has accepted: SHA-256 by name, beside HailoRT's packages that were fetched without TLS."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ml_target.errors import SettingsError
from ml_target.hailort.packages import Pair, require_readable, where
from ml_target.system.record import write_json

RECORD = "accepted.json"
AGAIN = "Let this program's user read it, or delete it, and fetch HailoRT's packages again"


def read(folder: Path) -> dict[str, str]:
    """SHA-256 by file name; {} where nothing was accepted. Raises SettingsError for a record that cannot be read."""
    path = folder / RECORD
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}", AGAIN) from error
    if not isinstance(record, dict) or not all(isinstance(each, str) for pair in record.items() for each in pair):
        raise SettingsError(f"{path} is not a list of checksums", AGAIN)
    return record


def remember(folder: Path, name: str, sha256: str) -> None:
    """Adds one file. Raises OSError where the folder cannot be written."""
    record = read(folder) | {name: sha256}
    write_json(folder / RECORD, dict(sorted(record.items())))


def require_unchanged(pair: Pair) -> None:
    """Raises SettingsError where a file is no longer the one that was accepted. Files never accepted may be any.

    And for one that cannot be read at all.
    """
    for file in (pair.deb, pair.wheel):
        require_readable(file)
        known = read(file.parent).get(file.name)
        if known and sha256(file) != known:
            raise SettingsError(
                f"{file} is not the file that was accepted when it was fetched",
                f"Delete it, and get it again; or, where you have put another there on purpose, take it out of "
                f"{file.parent / RECORD}. {where(pair.version)}",
            )


def sha256(file: Path) -> str:
    """Of the whole file, in hexadecimal."""
    found = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            found.update(block)
    return found.hexdigest()
