"""Writes a HEF: container version 2 around a protobuf with the field numbers of real files."""

import struct
from collections.abc import Sequence
from math import prod

import xxhash

from hailo_sim.hef_file import MAGIC, Group, Quant, Stream

CHIPS = {"hailo8": 1, "hailo8r": 2, "hailo8l": 3, "hailo15h": 103}
_ORDER_CODES = {"NHWC": 1, "NC": 2, "FCR": 3}
_TIMESTAMP_MS = 1_753_000_000_000


def write_hef(groups: Sequence[Group], payload: bytes, *, chip: str = "hailo8", compiler: str = "3.33.0") -> bytes:
    """The bytes of a whole file."""
    header = _number(1, CHIPS[chip]) + _number(2, _TIMESTAMP_MS) + _text(3, compiler) + _number(4, 5)
    multi = any(group.contexts > 1 for group in groups)
    message = _bytes(1, header) + b"".join(_bytes(2, _group(group)) for group in groups)
    message += _bytes(4, _number(1, 1) + (_number(4, 1) if multi else b"") + _number(8, 1))
    if multi:
        message += _bytes(5, _number(1, 4) + _text(2, "Is Multi Contexts"))
    if any(_varies(stream.quant) for group in groups for stream in group.outputs):
        message += _bytes(5, _number(1, 25) + _text(2, "Output Scale Per Feature"))
    body = message + payload
    head = struct.pack(">III", MAGIC, 2, len(message))
    return head + struct.pack(">QQQQ", xxhash.xxh3_64_intdigest(body), len(payload), 0, 0) + body


def _varies(quant: Quant) -> bool:
    """Whether each feature has a pair of its own (docs/hailort.md §4.1)."""
    return len(set(zip(quant.scales, quant.zero_points, strict=True))) > 1


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _text(field: int, value: str) -> bytes:
    return _bytes(field, value.encode())


def _single(field: int, value: float) -> bytes:
    """A float; zero is left out, as protobuf does."""
    return _varint(field << 3 | 5) + struct.pack("<f", value) if value else b""


def _doubles(field: int, values: Sequence[float]) -> bytes:
    return _bytes(field, struct.pack(f"<{len(values)}d", *values))


def _group(group: Group) -> bytes:
    metadata = _text(1, group.name) + _varint(4 << 3 | 1) + struct.pack("<d", group.bottleneck_fps) + _number(5, 1)
    message = _bytes(1, metadata) + _bytes(2, b"")
    message += b"".join(_bytes(3, _context(group, index)) for index in range(group.contexts))
    message += b"".join(_text(4, stream.name) for stream in group.outputs)
    message += _bytes(5, b"".join(_text(2, stream.name) for stream in group.outputs))
    return message + b"".join(_text(6, name) for name in group.networks)


def _context(group: Group, index: int) -> bytes:
    """Inputs stand in the first context, outputs in the last, intermediate layers between."""
    name = f"{group.name}_context_{index}"
    first, last = index == 0, index == group.contexts - 1
    layers = [_layer(stream, name, 0) for stream in (group.inputs if first else ())]
    layers += [_layer(stream, name, 0) for stream in (group.outputs if last else ())]
    if not first:
        layers.append(_layer(_intermediate(group, index - 1, is_output=False), name, 1))
    if not last:
        layers.append(_layer(_intermediate(group, index, is_output=True), name, 1))
    metadata = _text(1, name) + b"".join(_bytes(2, layer) for layer in layers)
    metadata += b"".join(_text(5, stream.name) for stream in (group.outputs if last else ()))
    return (_number(1, index) if index else b"") + _bytes(3, metadata)


def _intermediate(group: Group, index: int, *, is_output: bool) -> Stream:
    quant = Quant(0.05, 128, -6.4, 6.35, (0.05,) * 64, (128.0,) * 64)
    return Stream(f"{group.name}/context_{index}_to_{index + 1}", (14, 14, 64), "NHWC", 8, quant, is_output)


def _layer(stream: Stream, context: str, connection: int) -> bytes:
    height, width, features = stream.shape
    data_bytes = stream.bits // 8
    base = b"".join(_number(n, v) for n, v in enumerate((height, height, width, width, features, features), 1))
    base += _number(7, _ORDER_CODES[stream.order]) + _number(9, width * features * data_bytes) + _number(10, height)
    base += _number(12, data_bytes) + _bytes(13, _number(1, 2)) + _number(15, 65536)
    info = _text(1, stream.name) + _bytes(2, base) + _bytes(3, _numeric(stream.quant, features))
    info += _text(4, stream.name) + b"".join(_text(5, name) for name in stream.original_names)
    info += _number(6, 1) if stream.transposed else b""
    switch = _text(2, context) + (_number(3, connection) if connection else b"")
    return (_number(1, 1) if stream.is_output else b"") + _bytes(3, info) + _bytes(5, switch)


def _numeric(quant: Quant, features: int) -> bytes:
    """The single pair, the limits, and one pair a feature, as real files hold them."""
    message = _single(1, quant.zero_point) + _single(2, quant.scale) + _single(3, quant.low) + _single(4, quant.high)
    message += _doubles(5, quant.zero_points or (quant.zero_point,) * features)
    return message + _doubles(6, quant.scales or (quant.scale,) * features)


def stream_bytes(streams: Sequence[Stream]) -> int:
    """Bytes of one frame on the link."""
    return sum(prod(stream.shape) * stream.bits // 8 for stream in streams)
