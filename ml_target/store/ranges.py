"""Files of which only parts are read: on a web server that sends byte ranges, or on the disk."""

import io
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from ml_target.store.faults import CutError, NoRangesError, SourceError
from ml_target.store.web import Answer, Web, first_byte, host_of, read_block, version_of

BLOCK = 64 << 10
KEPT_BLOCKS = 64
CHUNK = 1 << 20


class PartialFile(io.RawIOBase):
    """A file of known `size` (bytes) that can be read at any place. Close it after use."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._at = 0

    def chunks(self, start: int, size: int) -> Iterator[bytes]:
        """Bytes `start` to `start + size` in pieces, past the cache. Raises SourceError."""
        raise NotImplementedError

    def bytes_at(self, start: int, size: int) -> bytes:
        """Bytes `start` to `start + size`, all of them. Raises SourceError."""
        return b"".join(self.chunks(start, size))

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
        data = self._cached(self._at, end) if end > self._at else b""
        self._at += len(data)
        return data

    def _cached(self, start: int, end: int) -> bytes:
        return self.bytes_at(start, end - start)


class LocalFile(PartialFile):
    """A file on the disk."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
        super().__init__(path.stat().st_size)

    def chunks(self, start: int, size: int) -> Iterator[bytes]:
        self._file.seek(start)
        while size > 0:
            try:
                block = self._file.read(min(CHUNK, size))
            except OSError as error:
                raise SourceError(f"{self._file.name} cannot be read: {error.strerror or error}") from error
            if not block:
                raise SourceError(f"{self._file.name} ends {size:,} bytes too early; get it again")
            size -= len(block)
            yield block

    def close(self) -> None:
        if hasattr(self, "_file"):  # the finaliser comes here too when the file could not be opened
            self._file.close()
        super().close()


class WebFile(PartialFile):
    """A file on a web server.

    Small reads fetch whole blocks and keep them; `chunks` streams one request and takes it up
    again where it is cut. Raises NoRangesError when the server sends whole files only.
    """

    def __init__(self, web: Web, url: str) -> None:
        self._web, self._url = web, url
        self._host = host_of(url)
        self._tag = ""
        self._blocks: dict[int, bytes] = {}
        with closing(self._first_answer()) as answer:
            version = version_of(answer)
            if answer.status != 206 or version.size is None:
                raise NoRangesError(f"{self._host} does not send parts of a file")
            super().__init__(version.size)
            self._tag = version.tag
            with suppress(CutError):
                self._blocks[0] = b"".join(self._pieces(answer, min(BLOCK, version.size)))

    def _first_answer(self) -> Answer:
        patience = self._web.patience()
        while True:
            with patience.attempt():
                return self._web.open(self._url, 0, BLOCK - 1)

    def chunks(self, start: int, size: int) -> Iterator[bytes]:
        end, patience = start + size, self._web.patience()
        while start < end:
            with patience.attempt():
                for block in self._once(start, end):
                    start += len(block)
                    patience.gained()
                    yield block

    def _once(self, start: int, end: int) -> Iterator[bytes]:
        with closing(self._web.open(self._url, start, end - 1, self._tag)) as answer:
            if answer.status != 206 or first_byte(answer) != start:
                raise SourceError(f"the file on {self._host} changed while it was read; start again")
            yield from self._pieces(answer, end - start)

    def _pieces(self, answer: Answer, size: int) -> Iterator[bytes]:
        while size > 0:
            block = read_block(answer, min(CHUNK, size), self._host)
            if not block:
                raise CutError(f"{self._host} cut the connection; try again later")
            size -= len(block)
            yield block

    def _cached(self, start: int, end: int) -> bytes:
        first, last = start // BLOCK, (end - 1) // BLOCK
        missing = [i for i in range(first, last + 1) if i not in self._blocks]
        if missing:
            base = missing[0] * BLOCK
            data = self.bytes_at(base, min((missing[-1] + 1) * BLOCK, self.size) - base)
            for i in range(missing[0], missing[-1] + 1):
                self._blocks[i] = data[i * BLOCK - base : (i + 1) * BLOCK - base]
        joined = b"".join(self._blocks[i] for i in range(first, last + 1))
        for old in list(self._blocks)[:-KEPT_BLOCKS]:
            del self._blocks[old]
        return joined[start - first * BLOCK : end - first * BLOCK]


def open_partial(web: Web, where: str | Path) -> PartialFile:
    """The file at an address or a path, for reading in parts. Raises SourceError, NoRangesError."""
    return LocalFile(where) if isinstance(where, Path) else WebFile(web, where)
