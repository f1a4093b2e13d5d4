"""Brings a whole file from a web server to the disk, and goes on where an earlier attempt was cut."""

import json
import os
import shutil
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO

from ml_target.errors import FetchError
from ml_target.store.faults import CutError, PastEndError, SourceError, writing
from ml_target.store.progress import MB, Progress, Transfer
from ml_target.store.ranges import CHUNK
from ml_target.store.verify import impostor
from ml_target.store.web import Answer, Version, Web, first_byte, host_of, read_block, shown, version_of

ROOM_TO_SPARE = 16 * MB


def download(web: Web, url: str, part: Path, progress: Progress, label: str) -> None:
    """Brings the file at `url` to `part`; what an earlier, cut attempt left there is used.

    Beside `part` lies a note of the address and the edition it is from, until the file is
    complete. Raises SourceError, and FetchError for faults of the disk.
    """
    patience = web.patience()
    with progress.transfer(label) as transfer:
        while True:
            before = _length(part)
            with patience.attempt():
                try:
                    _attempt(web, url, part, transfer)
                    break
                finally:
                    if _length(part) > before:
                        patience.gained()
    _note(part).unlink(missing_ok=True)


def make_room(folder: Path, size: int) -> None:
    """Raises FetchError when `size` more bytes do not fit on the disk of `folder`."""
    with suppress(OSError):
        free = shutil.disk_usage(folder).free
        if free < size + ROOM_TO_SPARE:
            raise FetchError(
                f"no space left in {folder}: {size / MB:.0f} MB are needed, {free / MB:.0f} MB are free",
                "Free some, or point MODELS_DIR at a folder on a larger disk.",
            )


def resumable(part: Path) -> bool:
    """True when a later attempt may go on with what lies in `part`."""
    return _note(part).exists()


def discard(part: Path) -> None:
    """Forgets an unfinished transfer."""
    for path in (part, _note(part)):
        path.unlink(missing_ok=True)


def _attempt(web: Web, url: str, part: Path, transfer: Transfer) -> None:
    """One request that begins where `part` ends. Raises CutError when it did not bring the rest."""
    known = _read_note(part, url)
    done = _length(part) if known else 0
    if known and known.size and done == known.size:
        return
    try:
        answer = web.open(url, done, tag=known.tag if known else None)
    except PastEndError:
        discard(part)
        raise
    host = host_of(url)
    with closing(answer):
        version, start = version_of(answer), first_byte(answer)
        if start and (start != done or known is None or version.size != known.size):
            discard(part)
            raise CutError(f"the file on {host} has changed; try again")
        block = read_block(answer, CHUNK, host)
        if start == 0 and (problem := impostor(block)):
            raise SourceError(f"{host} gives {problem}")
        make_room(part.parent, (version.size or start) - start)
        transfer.expect(version.size, start)
        with writing(part.parent):
            _note(part).write_text(json.dumps({"url": shown(url), "tag": version.tag, "size": version.size}))
            file = part.open("r+b" if start else "wb")
        with file:
            file.seek(start)
            _receive(answer, block, file, part.parent, transfer, host)
            if version.size is not None and file.tell() < version.size:
                raise CutError(f"{host} cut the connection after {file.tell():,} of {version.size:,} bytes; try again")


def _receive(answer: Answer, block: bytes, file: BinaryIO, folder: Path, transfer: Transfer, host: str) -> None:
    """Writes `block`, which has come already, and the rest of the answer."""
    while block:
        with writing(folder):
            file.write(block)
        transfer.advance(len(block))
        block = read_block(answer, CHUNK, host)
    with writing(folder):
        file.flush()
        os.fsync(file.fileno())


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_note(part: Path, url: str) -> Version | None:
    """The edition that lies in `part`, if it came from `url` and can be told from another one."""
    try:
        note = json.loads(_note(part).read_text())
        edition = Version(str(note["tag"]), note["size"])
        return edition if note["url"] == shown(url) and (edition.tag or edition.size) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
