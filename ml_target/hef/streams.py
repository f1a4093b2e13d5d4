"""The streams of a HEF as HailoRT shows them, read from the file alone: no library, no device.

Orders of elements after the open source of HailoRT 4.23 (`hailort_defaults.cpp`), shapes after
what its Python binding reports.
"""

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml_target.catalogue.binding import Shape
from ml_target.errors import DamagedFileError, ModelError
from ml_target.hef.header import HefHeader, read_header
from ml_target.hef.message import HostOperation, Layer, RawGroup, read_message
from ml_target.remedies import damaged, replace, unreadable

MAX_MESSAGE = 256 << 20  # bytes; the messages of real files take a thousandth to a hundredth of it
MAX_VALUES = 1 << 28  # elements of one frame
MAX_STREAMS = 256

# The compiler's number of a memory layout -> the order in which HailoRT hands the elements out.
ORDERS = {
    0: "NHWC",
    1: "NHWC",
    2: "NC",
    3: "FCR",
    4: "BAYER_RGB",
    5: "NHW",
    6: "HAILO_NMS_BY_CLASS",
    7: "F8CR",
    8: "NHWC",
    11: "YUY2",
    13: "NHWC",
    14: "NV12",
    15: "NV21",
    16: "I420",
}
DTYPES = {1: "uint8", 2: "uint16"}


@dataclass(frozen=True, slots=True)
class Stream:
    """One input or output. `shape`: of a frame, as HailoRT shows it (H x W x C, H x W, or C alone).

    `padded_shape`: height, width, channels on the chip; HailoRT takes the padding away. The real
    number behind a value is ``(value - zero_point) * scale``; `limits`: the real numbers that can
    occur. `per_channel`: (zero point, scale) of each channel where the file lists them; HailoRT's
    own list never shows them. `original_names`: the nodes of the ONNX file it came from.
    `host_operation`: what HailoRT computes on the host to make this stream, "" for nothing.
    `scaled_per_channel`: the chip was told to use those pairs. `transposed`: HailoRT leaves height and
    width the other way round, whatever the shape says.
    """

    name: str
    direction: Literal["input", "output"]
    shape: Shape
    padded_shape: Shape
    dtype: str
    order: str
    zero_point: float
    scale: float
    limits: tuple[float, float]
    per_channel: tuple[tuple[float, float], ...] = ()
    original_names: tuple[str, ...] = ()
    host_operation: str = ""
    scaled_per_channel: bool = False
    transposed: bool = False

    @property
    def padded(self) -> bool:
        """Whether the chip's frame is larger than the one HailoRT hands out."""
        return math.prod(self.padded_shape) != math.prod(self.shape)

    def __str__(self) -> str:
        return f"{self.name} {'x'.join(map(str, self.shape))} {self.dtype}"


@dataclass(frozen=True, slots=True)
class Group:
    """A network group. `contexts`: the parts the chip loads in turn, for every burst again where there are several."""

    name: str
    contexts: int
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]

    @property
    def multi_context(self) -> bool:
        return self.contexts > 1


@dataclass(frozen=True, slots=True)
class HefContent:
    """What a HEF holds. `scale_per_channel`: the chip scales each output channel by its own pair."""

    header: HefHeader
    groups: tuple[Group, ...]
    scale_per_channel: bool


def read_streams(path: Path) -> HefContent:
    """Header, groups and streams of the HEF at `path`; its checksum is not checked (`hef.verify` does that).

    Reads the protobuf section alone, not the weights. Raises DamagedFileError for a file that is
    missing, damaged, or not understood.
    """
    header = read_header(path)
    if header.message_size > MAX_MESSAGE:
        raise damaged(f"{path} describes itself in {header.message_size:,} bytes, too many to be true")
    try:
        with path.open("rb") as file:
            file.seek(header.message_start)
            raw = read_message(file.read(header.message_size), header.architecture)
        groups = tuple(_group(group, raw.scale_per_channel) for group in raw.groups)
        return HefContent(header, groups, raw.scale_per_channel)
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        # Its checksum may be right, so a fetch alone would keep it.
        reason = f"{path} is a HEF whose description is not understood ({error})"
        raise DamagedFileError(reason, f"Take the catalogue's build: {replace()}") from error


def uniform_quantisation(stream: Stream) -> tuple[float, float]:
    """(scale, zero point) that hold for all channels of the stream, scale > 0.

    The pairs of the channels count where the file lists them. Raises ModelError when they differ, because HailoRT
    applies a single one to such a stream, and when the numbers are impossible.
    """
    if stream.dtype == "float32":
        return 1.0, 0.0
    pairs = {(_single(scale), _single(zero)) for zero, scale in stream.per_channel}
    if not pairs or (stream.scale and not stream.scaled_per_channel):
        pairs.add((_single(stream.scale), _single(stream.zero_point)))
    if len(pairs) > 1:
        raise ModelError(
            f"{stream.name} has {len(pairs)} different pairs of scale and zero point for its channels; "
            f"HailoRT 4 applies one to all, so the answers would be wrong",
            f"Take the catalogue's build: {replace()}",
        )
    scale, zero_point = pairs.pop()
    _require_sense(stream, scale, zero_point)
    return scale, zero_point


def channel_quantisation(stream: Stream) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(scales, zero points) of an output's channels, the last axis of its shape; usually one that holds for all.

    More than one only where the chip was told to scale each channel by its own pair: the single pair
    that HailoRT shows then means nothing, and the file's list is what counts. Raises ModelError
    as `uniform_quantisation` does, and for a list that is not one pair per channel.
    """
    own = stream.scaled_per_channel and stream.dtype != "float32"
    channels = 1 if stream.order == "NHW" else stream.shape[-1]
    if own and len(stream.per_channel) != channels:
        raise ModelError(
            f"{stream.name} is scaled by a pair for each of its {channels} channels, and the file lists "
            f"{len(stream.per_channel)}",
            f"Take the catalogue's build: {replace()}",
        )
    if not own or len(set(stream.per_channel)) < 2:
        scale, zero_point = uniform_quantisation(stream)
        return (scale,), (zero_point,)
    pairs = [(_single(scale), _single(zero)) for zero, scale in stream.per_channel]
    for pair in pairs:
        _require_sense(stream, *pair)
    return tuple(scale for scale, _ in pairs), tuple(zero for _, zero in pairs)


def _require_sense(stream: Stream, scale: float, zero_point: float) -> None:
    low, high = stream.limits
    if not (0 < scale < math.inf and math.isfinite(zero_point) and low < high):
        raise ModelError(
            f"{stream.name} has an impossible quantisation: scale {scale:g}, zero point {zero_point:g}, "
            f"limits {low:g} to {high:g}",
            f"Take the catalogue's build: {replace()}",
        )


def _single(value: float) -> float:
    """In single precision, as HailoRT computes: pairs that differ beyond it are equal."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0]) + 0.0  # -0.0 is 0.0
    except OverflowError:
        return math.inf


def _group(raw: RawGroup, per_channel: bool) -> Group:
    if len(raw.layers) > MAX_STREAMS:
        raise ValueError(f"{len(raw.layers)} streams")
    made_from = {pad: operation for operation in raw.operations for pad in operation.pads}
    streams: dict[str, Stream] = {}
    for layer in raw.layers:
        operation = made_from.get(layer.pad) if layer.pad is not None and layer.is_output else None
        stream = _stream(layer, operation, per_channel)
        streams.setdefault(stream.name, stream)  # an operation that joins several layers gives one stream
    rank = {name: place for place, name in enumerate(reversed(raw.output_order))}
    outputs = [stream for stream in streams.values() if stream.direction == "output"]
    outputs.sort(key=lambda stream: -rank.get(stream.name, -1))
    inputs = (stream for stream in streams.values() if stream.direction == "input")
    return Group(raw.name, raw.contexts, tuple(inputs), tuple(outputs))


def _stream(layer: Layer, operation: HostOperation | None, per_channel: bool) -> Stream:
    order = ORDERS.get(layer.format, f"unknown no. {layer.format}")
    shape: Shape = {"NC": layer.size[2:], "NHW": layer.size[:2]}.get(order, layer.size)
    dtype = DTYPES.get(layer.value_bytes)
    if order != "HAILO_NMS_BY_CLASS" and (not 0 < math.prod(shape) <= MAX_VALUES or dtype is None):
        raise ValueError(f"a stream {layer.name!r} of {layer.size}, {layer.value_bytes} bytes a value")
    return Stream(
        operation.name or layer.name if operation else layer.name,
        "output" if layer.is_output else "input",
        shape,
        layer.padded,
        "float32" if operation or dtype is None else dtype,
        order,
        layer.zero_point,
        layer.scale,
        layer.limits,
        layer.pairs,
        layer.original_names,
        operation.kind if operation else "",
        per_channel and layer.is_output,
        layer.transposed,
    )
