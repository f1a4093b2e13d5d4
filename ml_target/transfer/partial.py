"""Reads parts of files: on disk, or on a web server that sends byte ranges.

Our own code, as the libraries in the image either fetch the whole file or make a request for every small piece.
"""

import io
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from ml_target.transfer.web import (
    CHUNK,
    LATER,
    Answer,
    CutError,
    NoRangesError,
    SourceError,
    Version,
    Web,
    blocks_of,
    first_byte,
    server_of,
)

BLOCK = 64 << 10
KEPT_BLOCKS = 64
LOCAL_HEADER = 1 << 10
"""Ample for what precedes a zip member's data: 30 bytes, its name, and a field whose size is given only there."""


NOT_READ = 0x1 | 0x20 | 0x40
"""Flags of a zip member that is encrypted, a patch, or strongly encrypted."""


class Readable(Protocol):
    """A file that can be read at any place: on the disk, or a WebFile."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class WebFile(io.RawIOBase):
    """A file of known `size` (bytes) on a web server, read like one on disk. Close it after use.

    Small reads fetch and cache whole blocks. What `expect` announces comes in one request, which is resumed if the
    connection is cut. Reading raises SourceError; the constructor NoRangesError if the server sends whole files only,
    or does not tell one edition of a file from another.
    """

    def __init__(self, web: Web, url: str) -> None:
        self._web, self._url, self._server = web, url, server_of(url)
        self._at, self._tag = 0, ""
        self._blocks: dict[int, bytes] = {}
        self._flow = self._pieces(0, 0)
        self._flow_at = self._flow_end = 0
        self._here = bytearray()
        with closing(self._first_answer()) as answer:
            version = Version.of(answer)
            if answer.status_code != 206 or version.size is None:
                raise NoRangesError(f"{self._server} does not send parts of a file")
            if not version.tag:
                raise NoRangesError(f"{self._server} does not tell which edition of a file its parts are from")
            self.size, self._tag = version.size, version.tag
            with suppress(CutError):
                self._blocks[0] = b"".join(self._received(answer, min(BLOCK, version.size)))

    def expect(self, start: int, size: int) -> None:
        """Announces that bytes `start` to `start + size` are read next, in order."""
        end = min(self.size, start + size)
        self._flow.close()
        self._flow, self._here = self._pieces(start, end), bytearray()
        self._flow_at, self._flow_end = start, end

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError("seek before the beginning")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        end = self.size if size is None or size < 0 else min(self.size, self._at + size)
        if end <= self._at:
            return b""
        flowing = self._flow_at <= self._at and end <= self._flow_end
        data = self._flowed(self._at, end) if flowing else self._cached(self._at, end)
        self._at += len(data)
        return data

    def _flowed(self, start: int, end: int) -> bytes:
        """Reads from the request in progress; skips what comes before `start`."""
        while self._flow_at + len(self._here) < end:
            block = next(self._flow, b"")
            if not block:  # abandoned earlier
                raise CutError(f"{self._server} cut the connection", LATER)
            self._here += block
        data = bytes(self._here[start - self._flow_at : end - self._flow_at])
        del self._here[: end - self._flow_at]
        self._flow_at = end
        return data

    def _cached(self, start: int, end: int) -> bytes:
        first, last = start // BLOCK, (end - 1) // BLOCK
        missing = [i for i in range(first, last + 1) if i not in self._blocks]
        if missing:
            base = missing[0] * BLOCK
            data = b"".join(self._pieces(base, min((missing[-1] + 1) * BLOCK, self.size)))
            for i in range(missing[0], missing[-1] + 1):
                self._blocks[i] = data[i * BLOCK - base : (i + 1) * BLOCK - base]
        joined = b"".join(self._blocks[i] for i in range(first, last + 1))
        for old in list(self._blocks)[:-KEPT_BLOCKS]:
            del self._blocks[old]
        return joined[start - first * BLOCK : end - first * BLOCK]

    def _pieces(self, start: int, end: int) -> Generator[bytes, None, None]:
        retries = self._web.retries()
        while start < end:
            with retries.attempt(), closing(self._web.open(self._url, start, end - 1, self._tag)) as answer:
                version = Version.of(answer)
                same = (version.tag, version.size) == (self._tag, self.size)
                if answer.status_code != 206 or first_byte(answer) != start or not same:
                    raise SourceError(f"the file on {self._server} changed while it was read", "start again")
                for block in self._received(answer, end - start):
                    start += len(block)
                    retries.progressed()
                    yield block

    def close(self) -> None:
        if hasattr(self, "_flow"):  # the finaliser gets here too if the first request failed
            self._flow.close()
        super().close()

    def _first_answer(self) -> Answer:
        retries = self._web.retries()
        while True:
            with retries.attempt():
                return self._web.open(self._url, 0, BLOCK - 1)

    def _received(self, answer: Answer, size: int) -> Iterator[bytes]:
        """At most `size` bytes, even if more are sent. Raises CutError if fewer arrive."""
        for block in blocks_of(answer, self._server, counted=True):
            yield block[:size]
            size -= len(block)
            if size <= 0:
                return
        raise CutError(f"{self._server} cut the connection", LATER)


class DiskFile(io.BufferedReader):
    """A file on the disk. Reading raises SourceError that tells a fault of the disk from a damaged file.

    The constructor raises SourceError if the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            super().__init__(io.FileIO(path))
        except OSError as error:
            raise self._unread(error) from error

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return super().read(size)
        except OSError as error:
            raise self._unread(error) from error

    def _unread(self, error: OSError) -> SourceError:
        return SourceError(f"{self._path} cannot be read: {error.strerror or error}")


def expect(file: Readable, start: int, size: int) -> None:
    """Tells a WebFile which bytes are read next, so that they come in one request."""
    if isinstance(file, WebFile):
        file.expect(start, size)


def pieces(file: Readable, size: int) -> Iterator[bytes]:
    """All of the next `size` bytes, in blocks. Raises SourceError if the file ends early."""
    while size > 0:
        block = file.read(min(CHUNK, size))
        if not block:
            raise SourceError(f"the file ends {size:,} bytes too early", "get it again")
        size -= len(block)
        yield block


def open_archive(file: Readable) -> zipfile.ZipFile:
    """The zip archive in `file`, its directory read. Raises SourceError for any other file."""
    try:
        return zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        reason = f"the archive cannot be read ({error}): it is damaged or not a zip"
        raise SourceError(reason, "get it again") from error


def find(archive: zipfile.ZipFile, base_name: str) -> zipfile.ZipInfo:
    """The member whose last path part is `base_name`. Raises SourceError when there is none."""
    for info in archive.infolist():
        if PurePosixPath(info.filename).name == base_name:
            return info
    raise SourceError(f"the archive has no {base_name}, it holds {', '.join(archive.namelist()) or 'nothing'}")


@contextmanager
def opened(
    archive: zipfile.ZipFile, file: Readable, info: zipfile.ZipInfo, known_as: str = "", what: str = "archive"
) -> Iterator[IO[bytes]]:
    """A member, unpacked in bounded pieces as it is read; its checksum is verified at the end.

    `file`: contains the archive. `known_as`, `what`: what a SourceError calls the member and the archive.
    """
    name = known_as or info.filename
    if info.flag_bits & NOT_READ or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SourceError(f"{name} in the {what} is encrypted or packed in a way that is not supported")
    expect(file, info.header_offset, LOCAL_HEADER + info.compress_size)
    try:
        member = archive.open(info)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise SourceError(f"the {what}'s directory is wrong about {name}", f"get the {what} again") from error
    try:
        with member:
            yield member
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise SourceError(f"{name} in the {what} is damaged ({error})", f"get the {what} again") from error
