"""Members of zip archives, found by the archive's directory and read without the rest of it."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from ml_target.store.faults import SourceError
from ml_target.store.ranges import CHUNK, PartialFile

LOCAL_HEADER = struct.Struct("<26xHH")  # 26 bytes that the directory repeats, then lengths of name and extra field


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member lies. `start`, `stored`: bytes in the archive; `size`: bytes once unpacked."""

    name: str
    start: int
    stored: int
    size: int
    crc: int
    deflated: bool

    def chunks(self, archive: PartialFile) -> Iterator[bytes]:
        """The member, unpacked, in pieces; its checksum holds or SourceError comes at the end."""
        unpack = zlib.decompressobj(-zlib.MAX_WBITS) if self.deflated else None
        crc = size = 0
        try:
            for block in archive.chunks(self.start, self.stored):
                pieces = _inflate(unpack, block) if unpack else (block,)
                for piece in pieces:
                    crc, size = zlib.crc32(piece, crc), size + len(piece)
                    yield piece
        except zlib.error as error:
            raise SourceError(f"{self.name} in the archive is damaged ({error}); get the archive again") from error
        if (crc, size) != (self.crc, self.size):
            raise SourceError(f"{self.name} in the archive is damaged (checksum); get the archive again")


def members(archive: PartialFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's directory. Raises SourceError for what is not a zip archive."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return {info.filename: info for info in opened.infolist()}
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError) as error:
        raise SourceError(f"the archive cannot be read ({error}); it is damaged or not a zip, get it again") from error


def find(archive: PartialFile, base_name: str) -> Member:
    """The member whose last path part is `base_name`. Raises SourceError when there is none."""
    listing = members(archive)
    for name, info in listing.items():
        if PurePosixPath(name).name == base_name:
            return locate(archive, info)
    raise SourceError(f"the archive has no {base_name}, it holds {', '.join(listing) or 'nothing'}")


def locate(archive: PartialFile, info: zipfile.ZipInfo) -> Member:
    """Where the data of a directory entry begin. Raises SourceError for encrypted or exotic members."""
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise SourceError(f"{info.filename} in the archive is encrypted or packed in a way that is not supported")
    archive.seek(info.header_offset)
    header = archive.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
        raise SourceError(f"the archive's directory is wrong about {info.filename}; get the archive again")
    start = info.header_offset + LOCAL_HEADER.size + sum(LOCAL_HEADER.unpack(header))
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return Member(info.filename, start, info.compress_size, info.file_size, info.CRC, deflated)


def _inflate(unpack: "zlib._Decompress", block: bytes) -> Iterator[bytes]:
    """What `block` unpacks to, in bounded pieces, whatever the archive claims."""
    while block:
        yield unpack.decompress(block, CHUNK)
        block = unpack.unconsumed_tail
