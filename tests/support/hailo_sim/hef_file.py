"""A HEF as libhailort opens it: container, checksum, protobuf; the statuses of docs/hailort.md §3.2 and §9.1.

Field numbers are those of the published `hef.proto`. What stands behind a simulated network
(a graph, a table) rides in the weights section and is left to `networks.py`.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import xxhash

from hailo_sim import status as codes
from hailo_sim.status import fail
from ml_target.hef.protobuf import walk

MAGIC = 0x01484546
PREFIX = 12
SMALLEST_BUFFER = 56
_HEADERS = {0: 32, 1: 28, 2: 44, 3: 56}

# Codes of the order on the chip, and the order the host sees.
CHIP_ORDERS = {0: "NHWC", 1: "NHWC", 2: "NC", 3: "FCR", 7: "NHWC"}


class NativeCrash(BaseException):
    """Where the real library takes the process down (docs/hailort.md §2.5-4, §9.1): raised, or the process ends."""


@dataclass(frozen=True, slots=True)
class Quant:
    """One pair a feature, and the single pair that the runtime shows."""

    scale: float
    zero_point: float
    low: float
    high: float
    scales: tuple[float, ...] = ()
    zero_points: tuple[float, ...] = ()

    @property
    def uneven(self) -> bool:
        """Whether the features have pairs of their own."""
        return len(set(self.scales)) > 1 or len(set(self.zero_points)) > 1


@dataclass(frozen=True, slots=True)
class Stream:
    """One input or output. `shape` is H x W x C; `bits` 8 or 16; `order` what the host sees."""

    name: str
    shape: tuple[int, int, int]
    order: str
    bits: int
    quant: Quant
    is_output: bool
    original_names: tuple[str, ...] = ()
    transposed: bool = False

    @property
    def host_shape(self) -> tuple[int, ...]:
        """docs/hailort.md §4.2: `NC` shows its features alone."""
        return self.shape[2:] if self.order == "NC" else self.shape

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def frame_bytes(self) -> int:
        return self.elements * self.bits // 8


@dataclass(frozen=True, slots=True)
class Group:
    """A network group."""

    name: str
    networks: tuple[str, ...]
    contexts: int
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]
    bottleneck_fps: float


@dataclass(frozen=True, slots=True)
class HefFile:
    """A whole file. `payload`: its weights section. `digest` tells contents apart."""

    architecture: int
    groups: tuple[Group, ...]
    payload: bytes
    size: int
    digest: str


def read_path(path: str) -> HefFile:
    """By path: 13 where nothing can be opened, 14 where no whole header can be read."""
    if not path or not Path(path).exists():
        fail(codes.OPEN_FILE_FAILURE)
    if Path(path).is_dir():
        fail(codes.FILE_OPERATION_FAILURE)
    try:
        content = Path(path).read_bytes()
    except OSError:
        fail(codes.OPEN_FILE_FAILURE)
    if len(content) < PREFIX or (_is_known(content) and len(content) < _HEADERS[_version(content)]):
        fail(codes.FILE_OPERATION_FAILURE)
    return _parse(content)


def read_buffer(content: bytes) -> HefFile:
    """By bytes: shorter than any header is corrupt; an empty buffer takes the process down (docs/hailort.md §9.1)."""
    if not content:
        raise NativeCrash("HEF(b''): segmentation fault")
    if len(content) < SMALLEST_BUFFER:
        fail(codes.HEF_FILE_CORRUPTED)
    return _parse(content)


def _version(content: bytes) -> int:
    return int.from_bytes(content[4:8], "big")


def _is_known(content: bytes) -> bool:
    return int.from_bytes(content[:4], "big") == MAGIC and _version(content) in _HEADERS


def _parse(content: bytes) -> HefFile:
    if not _is_known(content):
        fail(codes.HEF_NOT_SUPPORTED)
    _, version, size = struct.unpack_from(">III", content)
    start = _HEADERS[version]
    if len(content) < start or not _is_whole(content, version, size):
        fail(codes.HEF_FILE_CORRUPTED)
    try:
        message = bytes(content[start : start + size])
        header = dict(walk(_message(message, 1)[0]))
        groups = tuple(_group(part) for part in _message(message, 2))
    except (ValueError, KeyError, IndexError, UnicodeDecodeError):
        fail(codes.HEF_FILE_CORRUPTED)
    if not groups:
        fail(codes.HEF_NOT_SUPPORTED)
    if not all(group.inputs and group.outputs for group in groups):
        fail(codes.INVALID_HEF)
    architecture = header.get(1, 0)
    assert isinstance(architecture, int)
    padding = struct.unpack_from(">I", content, 28)[0] if version == 3 else 0
    digest = xxhash.xxh3_64_hexdigest(content)
    return HefFile(architecture, groups, content[start + size + padding :], len(content), digest)


def _is_whole(content: bytes, version: int, size: int) -> bool:
    """The length rule and the checksum (docs/hailort.md §3.3)."""
    body = memoryview(content)[_HEADERS[version] :]
    if version == 0:
        return len(body) == size and hashlib.md5(body, usedforsecurity=False).digest() == content[16:32]
    if version == 1:
        crc, weights = struct.unpack_from(">IQ", content, 12)
        return bool(len(body) == size + weights and zlib.crc32(body) == crc)
    stored, weights = struct.unpack_from(">QQ", content, 12)
    more = struct.unpack_from(">Q", content, 32)[0] if version == 3 else 0
    return bool(len(body) == size + weights + more and xxhash.xxh3_64_intdigest(body) == stored)


# ------------------------------------------------------------------- protobuf


def _message(message: bytes, number: int) -> list[bytes]:
    """All fields `number` that hold bytes."""
    return [bytes(value) for n, value in walk(message) if n == number and not isinstance(value, int)]


def _integers(message: bytes) -> dict[int, int]:
    return {n: value for n, value in walk(message) if isinstance(value, int)}


def _group(message: bytes) -> Group:
    metadata = _message(message, 1)[0]
    contexts = _message(message, 3)
    layers = [layer for context in contexts for layer in _boundary_layers(context)]
    outputs = {s.name: s for s in layers if s.is_output}
    order = [name.decode() for name in _message(message, 4)]
    fps = next(iter(_message(metadata, 4)), bytes(8))
    return Group(
        _message(metadata, 1)[0].decode(),
        tuple(name.decode() for name in _message(message, 6)),
        len(contexts),
        tuple(s for s in layers if not s.is_output),
        tuple(outputs[name] for name in order),
        struct.unpack("<d", fps)[0],
    )


def _boundary_layers(context: bytes) -> Iterator[Stream]:
    """The layers of a context that the host sees; those between contexts are left out."""
    for metadata in _message(context, 3):
        for layer in _message(metadata, 2):
            switch = _message(layer, 5)
            kind = _integers(switch[0]).get(3, 0) if switch else 0
            if kind == 0 and (info := _message(layer, 3)):
                yield _stream(info[0], bool(_integers(layer).get(1, 0)))


def _stream(info: bytes, is_output: bool) -> Stream:
    name, layer = _message(info, 1)[0].decode(), _message(info, 2)[0]
    if not _message(layer, 13):
        raise NativeCrash(f"HEF: {name} has no buffer_indices: segmentation fault")  # docs/hailort.md §9.1
    base = _integers(layer)
    return Stream(
        name,
        (base[1], base[3], base[5]),
        CHIP_ORDERS[base.get(7, 0)],
        8 * base.get(12, 1),
        _quant(_message(info, 3)[0]),
        is_output,
        tuple(name.decode() for name in _message(info, 5)),
        bool(_integers(info).get(6, 0)),
    )


def _quant(message: bytes) -> Quant:
    fields = {n: bytes(value) for n, value in walk(message) if not isinstance(value, int)}

    def single(number: int) -> float:
        value: float = struct.unpack("<f", fields.get(number, bytes(4)))[0]
        return value

    def each(number: int) -> tuple[float, ...]:
        packed = fields.get(number, b"")
        return struct.unpack(f"<{len(packed) // 8}d", packed)

    return Quant(single(2), single(1), single(3), single(4), each(6), each(5))
