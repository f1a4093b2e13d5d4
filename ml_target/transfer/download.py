"""Downloads a whole file, resuming where an earlier attempt was cut off.

Our own code, as the hub's client would append one edition of a file to the start of another, and keeps a cache of its
own.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

from ml_target.errors import FetchError
from ml_target.transfer.content import sha256_of, wrong_content
from ml_target.transfer.progress import Progress, Transfer
from ml_target.transfer.web import (
    CutError,
    PastEndError,
    SourceError,
    Version,
    Web,
    blocks_of,
    first_byte,
    server_of,
    shown,
)

MB = 1_000_000
ROOM_TO_SPARE = 16 * MB
FREE_SOME = "Free some, or point MODELS_DIR at a folder on a larger disk."


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns errors of the local disk into FetchError: another source would not help."""
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise FetchError(f"no space left in {folder}", FREE_SOME) from error
        if error.errno in (EACCES, EPERM, EROFS):
            raise FetchError(
                f"{folder} cannot be written ({error.strerror})",
                "Give the worker's user write permission (chown or chmod, or mount it writable), or point MODELS_DIR "
                "at a folder that it may write.",
            ) from error
        raise FetchError(
            f"{folder}: {error.strerror or error}", "Check the disk, or point MODELS_DIR at another folder."
        ) from error


@contextmanager
def filling(path: Path, mode: str = "wb") -> Iterator[BinaryIO]:
    """The file, opened for writing; at the end of the block its content is on the disk.

    Raises FetchError for faults of the disk, which a full one may show only when the file is closed.
    """
    with writing(path.parent):
        file = cast(BinaryIO, path.open(mode))
    try:
        yield file
        with writing(path.parent):
            file.flush()
            os.fsync(file.fileno())
    finally:
        with writing(path.parent):
            file.close()


def make_room(folder: Path, size: int) -> None:
    """Raises FetchError when `size` more bytes do not fit on the disk of `folder`."""
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < size + ROOM_TO_SPARE:
            raise FetchError(
                f"no space left in {folder}: {size / MB:.0f} MB are needed, {free / MB:.0f} MB are free",
                FREE_SOME,
            )


def write(blocks: Iterator[bytes], file: BinaryIO, folder: Path, transfer: Transfer) -> int:
    """Writes the blocks to a file in `folder`; returns the number of bytes. Raises FetchError."""
    count = 0
    for block in blocks:
        with writing(folder):
            file.write(block)
        transfer.advance(len(block))
        count += len(block)
    return count


def download(web: Web, url: str, part: Path, progress: Progress, label: str) -> None:
    """Downloads `url` to `part`; resumes an earlier, interrupted attempt.

    Until the file is complete, a note beside `part` records its address and edition; where the server tells no
    edition, there is none, and the next attempt starts from the beginning. The hash that a
    Hugging Face hub announces must match. Raises SourceError, and FetchError for faults of the disk.
    """
    retries = web.retries()
    version: Version | None = None
    with progress.transfer(label) as transfer:
        furthest = _length(part)
        while version is None:
            with retries.attempt():
                try:
                    version = _attempt(web, url, part, transfer)
                finally:
                    if _length(part) > furthest:
                        furthest = _length(part)
                        retries.progressed()
    try:
        _require_promised(part, version.promised, server_of(url))
    except SourceError:
        discard(part)
        raise
    _note(part).unlink(missing_ok=True)


def resumable(part: Path) -> bool:
    """True if a later attempt can resume from `part`."""
    return _note(part).exists()


def discard(part: Path) -> None:
    """Deletes an unfinished transfer."""
    for path in (part, _note(part)):
        path.unlink(missing_ok=True)


def _attempt(web: Web, url: str, part: Path, transfer: Transfer) -> Version:
    """One request, starting where `part` ends. Raises CutError if the rest did not arrive."""
    known = _read_note(part, url)
    done = _length(part) if known else 0
    if known and known.size and done == known.size:
        return known
    try:
        answer = web.open(url, done, tag=known.tag if known else None)
    except PastEndError:
        discard(part)
        raise
    server = server_of(url)
    with closing(answer):
        version, start = Version.of(answer), first_byte(answer)
        if start and (start != done or known is None or (version.tag, version.size) != (known.tag, known.size)):
            discard(part)
            raise CutError(f"the file on {server} has changed", "try again")
        if start and known and not version.promised:
            version = replace(version, promised=known.promised)
        blocks = blocks_of(answer, server, counted=version.size is not None)
        beginning = next(blocks, b"")
        if start == 0 and (wrong := wrong_content(beginning)):
            raise SourceError(f"{server} gives {wrong.what}", wrong.first, separator=". ")
        make_room(part.parent, (version.size or start) - start)
        transfer.expect(version.size, start)
        with writing(part.parent):
            if version.tag:
                _note(part).write_text(json.dumps({"url": shown(url), **asdict(version)}))
            else:  # another edition could not be told from this one
                _note(part).unlink(missing_ok=True)
        with filling(part, "r+b" if start else "wb") as file:
            file.seek(start)
            write(chain((beginning,), blocks), file, part.parent, transfer)
        if version.size is not None and (length := _length(part)) < version.size:
            raise CutError(f"{server} cut the connection after {length:,} of {version.size:,} bytes", "try again")
        return version


def _require_promised(part: Path, promised: str, server: str) -> None:
    """Raises SourceError if the content does not match the hash that the hub announced."""
    if not promised:
        return
    if len(promised) == 64:
        kind, found = "SHA-256", sha256_of(part)
    else:
        content = part.read_bytes()  # small: the hub identifies large files by SHA-256
        kind, found = (
            "Git blob id",
            hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest(),
        )
    if found != promised:
        raise SourceError(
            f"what came is not the file that {server} announces: its {kind} is {found}, not {promised}",
            "try again later, or use a mirror",
        )


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path, url: str) -> Version | None:
    """The edition in `part`, if it came from `url` and can be told apart from others."""
    try:
        note = json.loads(_note(part).read_text())
        edition = Version(str(note["tag"]), note["size"], str(note["promised"]))
        return edition if note["url"] == shown(url) and edition.tag else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
