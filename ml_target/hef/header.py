"""Reads a HEF, the file a Hailo chip runs, without HailoRT: what it is, for which chip, whether it is intact."""

import hashlib
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import xxhash

from ml_target.catalogue.types import Chip
from ml_target.errors import DamagedFileError, ModelError
from ml_target.hef.protobuf import walk
from ml_target.remedies import damaged, fetch, replace, unreadable

MAGIC = 0x01484546
PREFIX = struct.Struct(">III")  # magic, container version, bytes of protobuf
ARCHITECTURES = {
    0: "Hailo-8 (early build)",
    1: "Hailo-8",
    2: "Hailo-8R",
    3: "Hailo-8L",
    4: "Hailo-15M",
    5: "Hailo-10H",
    6: "Hailo-15L",
    103: "Hailo-10H/15H",
}
# A Hailo-8 also runs what was built for the smaller Hailo-8L, only slower; never the reverse.
RUNS_ON: dict[Chip, tuple[int, ...]] = {"hailo8": (1, 2, 3), "hailo8l": (3,)}
CHIP_NAMES: dict[Chip, str] = {"hailo8": "Hailo-8", "hailo8l": "Hailo-8L"}
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class HefHeader:
    """What the first bytes of a HEF say.

    `container`: version of the file layout, 0 to 3. `architecture`: its number in the compiler's
    list. `compiler`: version of the compiler, "" where the file does not say. `message_start`,
    `message_size`: bytes, where the protobuf message lies. `checksum`: the stored one, as it stands.
    """

    container: int
    architecture: int
    compiler: str
    message_start: int
    message_size: int
    checksum: bytes

    @property
    def chip(self) -> str:
        """The chip the file was compiled for, in words."""
        return ARCHITECTURES.get(self.architecture, f"unknown chip no. {self.architecture}")


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc32:
    def __init__(self) -> None:
        self.value = 0

    def update(self, data: bytes, /) -> None:
        self.value = zlib.crc32(data, self.value)

    def digest(self) -> bytes:
        return self.value.to_bytes(4, "big")


@dataclass(frozen=True, slots=True)
class _Layout:
    """The header after the prefix. `rest`: the sections that follow the protobuf message, by position."""

    fields: struct.Struct
    rest: tuple[int, ...]
    checksum_name: str

    def hash(self) -> _Hash:
        if self.checksum_name == "MD5":
            return hashlib.md5(usedforsecurity=False)
        return _Crc32() if self.checksum_name == "CRC-32" else xxhash.xxh3_64()


LAYOUTS = {
    0: _Layout(struct.Struct(">I16s"), (), "MD5"),
    1: _Layout(struct.Struct(">4sQI"), (1,), "CRC-32"),
    2: _Layout(struct.Struct(">8sQQQ"), (1,), "XXH3"),
    3: _Layout(struct.Struct(">8sQIQQQ"), (1, 3), "XXH3"),
}


def read_header(path: Path, known_as: str = "") -> HefHeader:
    """The header of the HEF at `path`, the file's length checked; quick, as it reads only a few bytes.

    Raises DamagedFileError, each case with its own message, for: not a HEF, a container version that is
    too new, a cut or overlong file, a header without an architecture. `known_as`: what they call it, by default its
    path.
    """
    try:
        with path.open("rb") as file:
            return _read_header(file, known_as or str(path))
    except OSError as error:
        raise unreadable(known_as or path, error) from error


def verify(path: Path, known_as: str = "") -> HefHeader:
    """Reads the whole file and compares it with the checksum it carries. Raises DamagedFileError as `read_header`."""
    header = read_header(path, known_as)
    layout = LAYOUTS[header.container]
    computed = layout.hash()
    try:
        with path.open("rb") as file:
            file.seek(header.message_start)
            while block := file.read(BLOCK):
                computed.update(block)
    except OSError as error:
        raise unreadable(known_as or path, error) from error
    if computed.digest() != header.checksum:
        raise damaged(
            f"{known_as or path} is damaged: its {layout.checksum_name} is {computed.digest().hex()}, "
            f"its header says {header.checksum.hex()}"
        )
    return header


def require_chip(header: HefHeader, chip: Chip, file: Path | str) -> None:
    """Raises ModelError when the file, called `file`, was compiled for a chip whose programs `chip` cannot run."""
    if header.architecture not in RUNS_ON[chip]:
        raise ModelError(
            f"{file} was compiled for {header.chip}, a {CHIP_NAMES[chip]} cannot run it",
            f"Replace it by the build for {CHIP_NAMES[chip]}: {replace('--engine', 'hailo', '--chip', chip)}",
        )


def _read_header(file: BinaryIO, name: str) -> HefHeader:
    prefix = file.read(PREFIX.size)
    if len(prefix) < PREFIX.size or PREFIX.unpack(prefix)[0] != MAGIC:
        raise damaged(f"{name} is not a HEF: it does not begin with 01 48 45 46")
    _, container, message_size = PREFIX.unpack(prefix)
    layout = LAYOUTS.get(container)
    if layout is None:
        raise DamagedFileError(
            f"{name} is a HEF of container version {container}; versions 0 to 3 can be read",
            f"Take the build the catalogue names ({fetch()}), or a newer release of this worker.",
        )
    raw = file.read(layout.fields.size)
    start = PREFIX.size + layout.fields.size
    actual = file.seek(0, 2)
    if len(raw) < layout.fields.size:
        raise damaged(f"{name} is cut off: its header is not complete after {actual:,} bytes")
    values = layout.fields.unpack(raw)
    expected = start + message_size + sum(values[i] for i in layout.rest)
    if actual != expected:
        what = "cut off" if actual < expected else "too long"
        raise damaged(f"{name} is {what}: {actual:,} bytes instead of {expected:,}")
    file.seek(start)
    architecture, compiler = _identity(file.read(min(message_size, BLOCK)), name)
    checksum: bytes = values[0] if container else values[1]
    return HefHeader(container, architecture, compiler, start, message_size, checksum)


def _identity(message: bytes, name: str) -> tuple[int, str]:
    """Architecture and compiler version from the header field, which compilers write first."""
    try:
        number, header = next(walk(message))
        if number != 1 or not isinstance(header, bytes):
            raise ValueError("the first field is not the header")
        fields = dict(walk(header))
    except (ValueError, StopIteration) as error:
        raise damaged(f"{name} is a HEF without a readable header ({error})") from error
    architecture, version = fields.get(1, 0), fields.get(3, b"")
    text = version.decode("utf-8", "replace") if isinstance(version, bytes) else ""
    found = re.search(r"\d+(\.\d+)+", text)
    return architecture if isinstance(architecture, int) else -1, found.group() if found else text
