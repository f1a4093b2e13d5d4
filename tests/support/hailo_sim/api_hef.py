"""`HEF`, readable without a device (docs/hailort.md §3.1)."""

from dataclasses import dataclass

from hailo_sim import status as codes
from hailo_sim.current import current
from hailo_sim.enums import FormatFlags, FormatOrder, FormatType, StreamDirection
from hailo_sim.errors import translated
from hailo_sim.formats import native_type
from hailo_sim.hef_file import Group, HefFile, NativeCrash, Stream, read_buffer, read_path
from hailo_sim.status import fail


@dataclass
class QuantInfo:
    """The one pair the runtime shows (docs/hailort.md §4.1)."""

    qp_zp: float
    qp_scale: float
    limvals_min: float
    limvals_max: float


@dataclass
class Format:
    type: FormatType
    order: FormatOrder
    flags: FormatFlags


@dataclass
class NetworkGroupInfo:
    name: str
    is_multi_context: bool


@dataclass
class VStreamInfo:
    """`shape` is a tuple here, a list in InferModel."""

    name: str
    network_name: str
    direction: StreamDirection
    format: Format
    shape: tuple[int, ...]
    quant_info: QuantInfo
    nms_shape: None = None


@dataclass
class StreamInfo:
    """A hardware stream: padded shape."""

    name: str
    direction: StreamDirection
    format: Format
    shape: tuple[int, ...]
    hw_shape: tuple[int, ...]
    data_bytes: int
    sys_index: int
    quant_info: QuantInfo


def format_of(stream: Stream) -> Format:
    """Native type and host order."""
    order = FormatOrder.__members__[stream.order]
    assert isinstance(order, FormatOrder)
    return Format(native_type(stream), order, FormatFlags.TRANSPOSED if stream.transposed else FormatFlags.NONE)


def quant_of(stream: Stream) -> QuantInfo:
    """The one pair; zeros, which mean nothing, where the features have pairs of their own (docs/hailort.md §4.1)."""
    quant = stream.quant
    if quant.uneven:
        return QuantInfo(0.0, 0.0, 0.0, 0.0)
    return QuantInfo(quant.zero_point, quant.scale, quant.low, quant.high)


def load(source: str | bytes) -> HefFile:
    """By path or by bytes."""
    try:
        return read_buffer(source) if isinstance(source, bytes) else read_path(source)
    except NativeCrash as crash:
        current().crash(str(crash))


class HEF:
    """A file and its streams. The infos raise the raw status exception (docs/hailort.md §1.4)."""

    def __init__(self, hef_source: str | bytes) -> None:
        current().hold_gil("hef")
        with translated():
            if not isinstance(hef_source, str | bytes):
                raise ValueError("HEF can only be created from a file path (str) or a buffer (bytes)")
            self._hef = load(hef_source)
        self._path = hef_source if isinstance(hef_source, str) else None

    @property
    def path(self) -> str | None:
        return self._path

    def get_network_group_names(self) -> list[str]:
        return [group.name for group in self._hef.groups]

    def get_network_groups_infos(self) -> list[NetworkGroupInfo]:
        return [NetworkGroupInfo(group.name, group.contexts > 1) for group in self._hef.groups]

    def get_networks_names(self, network_group_name: str | None = None) -> list[str]:
        group = self._group(network_group_name)
        return [_network_name(group, name) for name in group.networks]

    def get_input_vstream_infos(self, name: str | None = None) -> list[VStreamInfo]:
        return _vstreams(self._group(name), StreamDirection(0))

    def get_output_vstream_infos(self, name: str | None = None) -> list[VStreamInfo]:
        return _vstreams(self._group(name), StreamDirection(1))

    def get_all_vstream_infos(self, name: str | None = None) -> list[VStreamInfo]:
        return self.get_input_vstream_infos(name) + self.get_output_vstream_infos(name)

    def get_input_stream_infos(self, name: str | None = None) -> list[StreamInfo]:
        return _streams(self._group(name), StreamDirection(0))

    def get_output_stream_infos(self, name: str | None = None) -> list[StreamInfo]:
        return _streams(self._group(name), StreamDirection(1))

    def get_all_stream_infos(self, name: str | None = None) -> list[StreamInfo]:
        return self.get_input_stream_infos(name) + self.get_output_stream_infos(name)

    def get_sorted_output_names(self, network_group_name: str | None = None) -> list[str]:
        with translated():
            return [stream.name for stream in self._group(network_group_name).outputs]

    def bottleneck_fps(self, network_group_name: str | None = None) -> float:
        with translated():
            return self._group(network_group_name).bottleneck_fps

    def get_original_names_from_vstream_name(
        self, vstream_name: str, network_group_name: str | None = None
    ) -> list[str]:
        with translated():
            return list(self._stream(vstream_name, network_group_name).original_names)

    def get_vstream_name_from_original_name(self, original_name: str, network_group_name: str | None = None) -> str:
        with translated():
            streams = _all(self._group(network_group_name))
            name = next((s.name for s in streams if original_name in s.original_names), None)
            return name or fail(codes.NOT_FOUND)

    def get_stream_names_from_vstream_name(self, vstream_name: str, network_group_name: str | None = None) -> list[str]:
        with translated():
            return [self._stream(vstream_name, network_group_name).name]

    def get_vstream_names_from_stream_name(self, stream_name: str, network_group_name: str | None = None) -> list[str]:
        with translated():
            return [self._stream(stream_name, network_group_name).name]

    def _group(self, name: str | None) -> Group:
        groups = [g for g in self._hef.groups if name in (None, "", g.name) or str(name).startswith(f"{g.name}/")]
        return groups[0] if groups else fail(codes.NOT_FOUND)

    def _stream(self, name: str, group: str | None) -> Stream:
        return next((s for s in _all(self._group(group)) if s.name == name), None) or fail(codes.NOT_FOUND)


def _all(group: Group) -> tuple[Stream, ...]:
    return group.inputs + group.outputs


def _network_name(group: Group, name: str) -> str:
    return f"{group.name}/{name}"


def _of(group: Group, direction: StreamDirection) -> tuple[Stream, ...]:
    return group.outputs if int(direction) else group.inputs


def _vstreams(group: Group, direction: StreamDirection) -> list[VStreamInfo]:
    network = _network_name(group, group.networks[0])
    return [
        VStreamInfo(s.name, network, direction, format_of(s), s.host_shape, quant_of(s)) for s in _of(group, direction)
    ]


def _streams(group: Group, direction: StreamDirection) -> list[StreamInfo]:
    return [
        StreamInfo(s.name, direction, format_of(s), s.shape, _padded(s), s.bits // 8, index, quant_of(s))
        for index, s in enumerate(_of(group, direction))
    ]


def _padded(stream: Stream) -> tuple[int, int, int]:
    """Features go to the device in eights."""
    height, width, features = stream.shape
    return height, width, -(-features // 8) * 8
