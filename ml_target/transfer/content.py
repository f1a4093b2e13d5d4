"""What arrived: by its first bytes, and by its hash. Our own code, as no library tells a login page from a model."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ml_target.remedies import unreadable

BLOCK = 1 << 20
LFS_BEGINNING = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, slots=True)
class Wrong:
    """What came in place of a file, and what to do before it is fetched again."""

    what: str
    first: str


LFS_POINTER = Wrong(
    "a Git LFS pointer instead of the file itself", "Fetch the content with git lfs pull, or download it"
)
WEB_PAGE = Wrong(
    "a web page instead of the file: a login page of the network or a proxy stands in between",
    "Log in there, or set HTTPS_PROXY",
)


def wrong_content(head: bytes) -> Wrong | None:
    """Whether a web page or an LFS pointer came in place of the file."""
    if head.startswith(LFS_BEGINNING):
        return LFS_POINTER
    if head[:512].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return WEB_PAGE
    return None


def sha256_of(path: Path, known_as: str = "") -> str:
    """SHA-256 of the file, hex. Raises DamagedFileError when it cannot be read; `known_as`: what that calls it."""
    computed = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                computed.update(block)
    except OSError as error:
        raise unreadable(known_as or path, error) from error
    return computed.hexdigest()
