"""A file in memory that grows without being copied."""

import io
import mmap
from typing import NoReturn

ROOM = 16 * 2**20
"""Bytes of addresses that one begins with. Memory is taken only for what is written."""


class GrowingFile(io.RawIOBase):
    """A file in pages of its own, to be read at any place and written at its end; it begins with `content`.

    `io.BytesIO` grows by an eighth at a time, and each time all of it may be copied: with a dozen large uploads at
    once, tens of milliseconds of the event loop, and holes in the heap that no other upload fits into. Here the kernel
    moves the pages, and closing gives them back. Raises MemoryError where there are none left.
    """

    def __init__(self, content: bytes) -> None:
        self._size = self._at = 0
        try:
            self._pages = mmap.mmap(-1, max(ROOM, len(content)), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            _no_memory(error)
        self.write(content)

    def getbuffer(self) -> memoryview:
        """All that was written, read-only. It stays valid when the file is closed, and keeps its memory."""
        return memoryview(self._pages)[: self._size].toreadonly()

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]
        """Appends `data`, wherever the file was read last."""
        end = self._size + len(data)
        if end > len(self._pages):
            try:
                self._pages.resize(max(2 * len(self._pages), end))
            except OSError as error:
                _no_memory(error)
        self._pages[self._size : end] = data
        self._size = self._at = end
        return len(data)

    def read(self, size: int | None = -1, /) -> bytes:
        if self.closed:
            raise ValueError("read of closed file")
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        data = self._pages[self._at : end]
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("seek before the beginning")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed and hasattr(self, "_pages"):
            del self._pages  # not closed: a thread may still decode from a buffer of it
        super().close()


def _no_memory(error: OSError) -> NoReturn:
    raise MemoryError(f"no memory for an upload: {error.strerror}") from error
