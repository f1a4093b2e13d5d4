"""HEF files made up field by field, for the readers' tests."""

import struct
from dataclasses import dataclass

import xxhash

from ml_target.hef import header as hef


def number(at: int, value: int) -> bytes:
    return _varint(at << 3) + _varint(value)


def blob(at: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return _varint(at << 3 | 2) + _varint(len(content)) + content


def single(at: int, value: float) -> bytes:
    return _varint(at << 3 | 5) + struct.pack("<f", value)


def doubles(at: int, *values: float) -> bytes:
    return blob(at, struct.pack(f"<{len(values)}d", *values)) if values else b""


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


@dataclass(frozen=True)
class L:
    """A layer; `connection` 1 lies between two contexts."""

    name: str
    size: tuple[int, int, int]
    output: bool = True
    format: int = 1
    value_bytes: int = 1
    zero_point: float = 0.0
    scale: float = 1.0
    limits: tuple[float, float] = (0.0, 255.0)
    pairs: tuple[tuple[float, float], ...] = ()
    originals: tuple[str, ...] = ()
    padded: tuple[int, int, int] | None = None
    transposed: bool = False
    connection: int = 0
    pad: int | None = None

    def info(self) -> bytes:
        padded = self.padded or self.size
        base = b"".join(
            number(1 + 2 * i, size) + number(2 + 2 * i, wide)
            for i, (size, wide) in enumerate(zip(self.size, padded, strict=True))
        )
        base += number(7, self.format) + number(12, self.value_bytes)
        numeric = single(1, self.zero_point) + single(2, self.scale) + single(3, self.limits[0])
        numeric += single(4, self.limits[1])
        numeric += doubles(5, *(zero for zero, _ in self.pairs)) + doubles(6, *(scale for _, scale in self.pairs))
        info = blob(1, self.name) + blob(2, base) + blob(3, numeric)
        return info + b"".join(blob(5, name) for name in self.originals) + number(6, self.transposed)

    def edge(self) -> bytes:
        pad = b"" if self.pad is None else number(7, self.pad)
        return number(1, self.output) + blob(3, self.info()) + blob(5, number(3, self.connection)) + pad


def context(*layers: L | bytes) -> bytes:
    """A context; bytes are edges of another kind."""
    edges = (layer if isinstance(layer, bytes) else layer.edge() for layer in layers)
    return blob(3, b"".join(blob(2, edge) for edge in edges))


def group(name: str, *contexts: bytes, order: tuple[str, ...] = (), partial: bytes = b"") -> bytes:
    body = blob(1, blob(1, name)) + b"".join(blob(3, one) for one in contexts)
    return body + b"".join(blob(4, output) for output in order) + partial


def message(*groups: bytes, architecture: int = 1, extensions: tuple[int, ...] = ()) -> bytes:
    header = number(1, architecture) + number(2, 1_700_000_000_000) + blob(3, "3.33.0") + number(4, 5)
    body = blob(1, header) + b"".join(blob(2, one) for one in groups)
    return body + b"".join(blob(5, number(1, one)) for one in extensions)


def file(proto: bytes, weights: bytes = bytes(64)) -> bytes:
    """The whole file, container version 2."""
    body = proto + weights
    prefix = struct.pack(">III", hef.MAGIC, 2, len(proto))
    return prefix + struct.pack(">QQQQ", xxhash.xxh3_64_intdigest(body), len(weights), 0, 0) + body


def simple(name: str, *layers: L, architecture: int = 1, extensions: tuple[int, ...] = ()) -> bytes:
    """A file with one network group of one context."""
    return file(message(group(name, context(*layers)), architecture=architecture, extensions=extensions))


def picture(name: str, height: int, width: int) -> L:
    return L(f"{name}/input_layer1", (height, width, 3), output=False, format=3)


def mobilefacenet(**changes: object) -> bytes:
    """The embedder's contract; `changes` apply to its output."""
    name = "arcface_mobilefacenet"
    settings: dict[str, object] = {"format": 2, "zero_point": 144.0, "scale": 0.0167, "limits": (-2.4, 1.9)} | changes
    return simple(name, picture(name, 112, 112), L(f"{name}/fc1", (1, 1, 512), **settings))  # type: ignore[arg-type]
