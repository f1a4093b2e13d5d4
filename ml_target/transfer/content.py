"""What arrived: by its first bytes, and by its hash."""

import hashlib
from pathlib import Path

from ml_target.remedies import unreadable

BLOCK = 1 << 20
LFS_BEGINNING = b"version https://git-lfs.github.com/spec/"


def wrong_content(head: bytes) -> str | None:
    """Describes a web page or an LFS pointer that came in place of the file; None for anything else."""
    if head.startswith(LFS_BEGINNING):
        return "a Git LFS pointer instead of the file itself: fetch the content with git lfs pull, or download it"
    if head[:512].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return (
            "a web page instead of the file: a login page of the network or a proxy stands in between; "
            "log in there, or set HTTPS_PROXY"
        )
    return None


def sha256_of(path: Path) -> str:
    """SHA-256 of the file, hex. Raises DamagedFileError when it cannot be read."""
    computed = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                computed.update(block)
    except OSError as error:
        raise unreadable(path, error) from error
    return computed.hexdigest()
