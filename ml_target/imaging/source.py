"""A file as the readers of structure see it: small pieces at any offset, and the errors for what is refused."""

import io
import re
from typing import BinaryIO, Literal

from ml_target.errors import TooLarge, UnusableInput

PIECE = 2**20
"""Bytes searched at a time: other threads get their turn in between."""

MAX_READS = 300_000
"""Of a file's structure. It is read in a thread that nothing can interrupt: this many take about two seconds."""

FEW_READS, SHORT_READ = 256, 1024
"""Of a file's structure, and bytes at a time, that the event loop's thread may stop for."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
"""What ends the compressed data of a JPEG scan: a marker that is neither a stuffed byte nor a restart."""


class TakesLongerError(Exception):
    """The structure cannot be read at once."""


class Source:
    """An upload, held in memory. Reads never go beyond its end: they are shorter there.

    `at_once`: only little is read, in less than a millisecond; what needs more raises `TakesLongerError`.
    """

    def __init__(self, data: bytes | BinaryIO, at_once: bool = False) -> None:
        self.stream: BinaryIO = io.BytesIO(data) if isinstance(data, bytes) else data
        self.size = self.stream.seek(0, io.SEEK_END)
        self._reads = 0
        self._at_once = at_once

    def at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes. Raises UnusableInput for a file of far too many pieces."""
        self._reads += 1
        if self._at_once and (self._reads > FEW_READS or length > SHORT_READ):
            raise TakesLongerError
        if self._reads > MAX_READS:
            raise implausible(f"a file of more than {MAX_READS:,} pieces")
        self.stream.seek(offset)
        return self.stream.read(length)

    def exactly(self, offset: int, length: int) -> bytes:
        """`length` bytes. Raises UnusableInput where the file ends earlier."""
        piece = self.at(offset, length)
        if len(piece) < length:
            raise not_a_picture("the file ends within its header")
        return piece

    def number(self, offset: int, length: int, order: Literal["big", "little"] = "big") -> int:
        return int.from_bytes(self.exactly(offset, length), order)

    def marker(self, offset: int) -> int:
        """The offset of the next JPEG marker, or the end of the file."""
        while offset < self.size:
            piece = self.at(offset, PIECE)
            found = _MARKER.search(piece)
            if found:
                return offset + found.start()
            offset += max(1, len(piece) - 1)  # a marker may straddle two pieces
        return self.size


def not_a_picture(why: str) -> UnusableInput:
    """The error for a file that cannot be read at all."""
    return UnusableInput(
        f"The upload is not a picture this worker can read ({why})",
        "Send JPEG, WebP, PNG or another format that Pillow decodes.",
    )


def damaged(why: str) -> UnusableInput:
    """The error for a picture whose data are wrong."""
    return UnusableInput(f"The picture is damaged or cut short ({why})", "Regenerate its preview in Immich.")


def implausible(why: str) -> UnusableInput:
    """The error for what only a malicious file has."""
    return UnusableInput(f"No ordinary picture is made like this: {why}", "Save it again, and send that.")


def too_much(why: str) -> TooLarge:
    """The error for a small picture whose decoding takes the memory of a huge one."""
    return TooLarge(f"The picture takes far more memory than its size: {why}", "Save it again, and send that.")
