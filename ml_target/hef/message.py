"""The networks in the protobuf message of a HEF, as the compiler wrote them: groups, contexts, layers.

Only the fields that matter here are followed, by number. Paths from the top of the message:

    5.1 extensions, 6.1 optional extensions (numbers: 13 operations graph, 25 scale per channel)
    2 network group: 1.1 its name, 3 contexts, 4 output names in order, 5 fused layers, 7.1 partial groups,
      8 operations (4 core, 5 NMS, 6 logits) and 9 their edges where the graph extension is on
    context 3.2 edge layer: 1 output?, 2 kind, 3 layer, 4 multiplexed, 8 planes, 5.3 connection (0 = host), 7 pad
    layer: 1 name, 2 base, 3 numeric, 5 original names, 6 transposed
    base: 1/2 height, 3/4 width, 5/6 channels (each with its padded value), 7 format, 12 bytes per value
    numeric: 1 zero point, 2 scale, 3/4 limits (floats), 5 zero points, 6 scales of the channels (doubles)
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ml_target.hef.protobuf import walk

View = bytes | memoryview
Fields = dict[int, list[int | View]]

GRAPH_EXTENSION = 13
PER_CHANNEL_EXTENSION = 25
PARTIAL_LAYOUTS = (3, 4)  # architectures whose networks stand in partial groups: Hailo-8L, Hailo-15M
HOST = 0  # edge connection type: between host and chip, not between two contexts
OPERATION_KINDS = {5: "NMS", 6: "logits"}
LOGITS_KINDS = {0: "argmax", 1: "softmax"}
MAX_FIELDS = 1 << 21
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer at the border between host and chip. `size`, `padded`: height, width, channels.

    `format` is the compiler's number of the memory layout. `pairs`: zero point and scale of each
    channel where the file lists them. `pad`: where an operation on the host joins, None: nowhere.
    `transposed`: height and width stand the other way round on the chip, and in what HailoRT hands out.
    """

    name: str
    is_output: bool
    size: tuple[int, int, int]
    padded: tuple[int, int, int]
    format: int
    value_bytes: int
    zero_point: float
    scale: float
    limits: tuple[float, float]
    pairs: tuple[tuple[float, float], ...]
    original_names: tuple[str, ...]
    pad: int | None
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class HostOperation:
    """What HailoRT computes itself from the layers at `pads`; its result is called `name`."""

    kind: str
    name: str
    pads: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RawGroup:
    """A network group: its layers in the order of the file, the names of its outputs in HailoRT's order."""

    name: str
    contexts: int
    layers: tuple[Layer, ...]
    output_order: tuple[str, ...]
    operations: tuple[HostOperation, ...]


@dataclass(frozen=True, slots=True)
class RawContent:
    """The whole message. `scale_per_channel`: the chip was told a pair for each channel."""

    groups: tuple[RawGroup, ...]
    scale_per_channel: bool


def read_message(message: View, architecture: int) -> RawContent:
    """The network groups in `message`. Raises ValueError where the bytes are not such a message."""
    top = _pick(memoryview(message), 2, 5, 6)
    extensions = {_number(_pick(e, 1), 1) for e in _messages(top, 5)}
    graph = GRAPH_EXTENSION in extensions
    groups = tuple(_group(group, graph, architecture) for group in _messages(top, 2))
    return RawContent(groups, PER_CHANNEL_EXTENSION in extensions)


def _group(message: View, graph: bool, architecture: int) -> RawGroup:
    group = _pick(message, 1, 3, 4, 5, 7, 8, 9, 10)
    operations = [_pick(o, 2, 3, 4, 5, 6) for o in _messages(group, 8)] if graph else []
    core = next((_pick(o[4][0], 1, 3, 4, 5, 7) for o in operations if _messages(o, 4)), group)
    partial = [_pick(p, 1, 3, 4, 5) for outer in _messages(core, 7) for p in _messages(_pick(outer, 1), 1)]
    whole = partial[0] if partial and (architecture in PARTIAL_LAYOUTS or not core.get(3)) else core
    name = next(filter(None, (_name(fields) for fields in (*partial[:1], group, core))), "") or _text(group, 10)
    contexts = _messages(whole, 3)
    layers: list[Layer] = []
    order: list[str] = []
    transposed = any(_number(_pick(m, 3), 3) for m in _messages(whole, 1))
    for context in contexts:
        for metadata in _messages(_pick(context, 3), 3):
            fields = _pick(metadata, 2, 5)
            order += _texts(fields, 5)
            layers += (x for edge in _messages(fields, 2) for x in _border(edge, transposed))
    fused = [_texts(_pick(f, 2), 2) for f in _messages(core, 5) if _number(_pick(f, 1), 1)]
    order = (fused[0] if fused else []) or _texts(group, 4) or _texts(whole, 4) or order
    return RawGroup(name, len(contexts), tuple(layers), tuple(order), tuple(_operations(operations, group)))


def _name(group: Fields) -> str:
    return next((_text(_pick(metadata, 1), 1) for metadata in _messages(group, 1)), "")


def _operations(operations: list[Fields], group: Fields) -> Iterator[HostOperation]:
    """What runs on the host, each with the pads of the core that feed it."""
    edges = [_pick(e, 1, 2) for e in _messages(group, 9)]
    feeds = {_number(e, 2): _number(e, 1) for e in edges}
    for operation in operations:
        for number, kind in OPERATION_KINDS.items():
            for body in _messages(operation, number):
                if kind == "logits":
                    kind = LOGITS_KINDS.get(_number(_pick(body, 1), 1), "unknown")
                taken = [_number(_pick(pad, 1), 1) for pad in _messages(operation, 2)]
                name = next((_text(_pick(pad, 2), 2) for pad in _messages(operation, 3)), "")
                yield HostOperation(kind, name, tuple(feeds.get(pad, -1) for pad in taken))


def _border(edge: View, transposed: bool) -> Iterator[Layer]:
    """The layers of one edge that the host sees; none for an edge between two contexts."""
    fields = _pick(edge, 1, 3, 4, 5, 7, 8)
    if any(_number(_pick(c, 3), 3) != HOST for c in _messages(fields, 5)):
        return
    pad = _number(fields, 7) if 7 in fields else None
    yield from _edge(fields, (3, 4, 8), bool(_number(fields, 1)), pad, transposed, 0)


def _edge(
    edge: Fields, at: tuple[int, int, int], is_output: bool, pad: int | None, transposed: bool, depth: int
) -> Iterator[Layer]:
    """A layer, the layers multiplexed into one, or planes; `at`: the numbers of these three kinds."""
    if depth > MAX_DEPTH:
        raise ValueError("layers are nested too deeply")
    for layer in _messages(edge, at[0]):
        yield _layer(layer, is_output, pad, transposed)
    for multiplexed in _messages(edge, at[1]):
        for inner in _messages(_pick(multiplexed, 5), 5):
            yield from _edge(_pick(inner, 1, 2, 3), (1, 2, 3), is_output, None, transposed, depth + 1)
    for planes in _messages(edge, at[2]):
        yield _planes(planes, is_output)


def _layer(message: View, is_output: bool, pad: int | None, transposed: bool) -> Layer:
    fields = _pick(message, 1, 2, 3, 5, 6)
    base = _pick(_only(fields, 2), 1, 2, 3, 4, 5, 6, 7, 12)
    numeric = _pick(_only(fields, 3), 1, 2, 3, 4, 5, 6)
    height, padded_height, width, padded_width, channels, padded_channels = (_number(base, n) for n in range(1, 7))
    size, padded = (height, width, channels), (padded_height, padded_width, padded_channels)
    turned = bool(transposed or _number(fields, 6)) and _number(base, 7) != 2  # 2: no height and width to exchange
    if turned:
        size = (width, height, channels)
    zero_points, scales = _doubles(numeric, 5), _doubles(numeric, 6)
    if len(zero_points) != len(scales):
        raise ValueError(f"{len(zero_points)} zero points stand beside {len(scales)} scales")
    return Layer(
        _text(fields, 1),
        is_output,
        size,
        padded,
        _number(base, 7),
        _number(base, 12),
        _float(numeric, 1),
        _float(numeric, 2),
        (_float(numeric, 3), _float(numeric, 4)),
        tuple(zip(zero_points, scales, strict=True)),
        tuple(_texts(fields, 5)),
        pad,
        turned,
    )


def _planes(message: View, is_output: bool) -> Layer:
    """A picture in planes (NV12 and the like); no network of ours takes one, but it must be named to be refused."""
    fields = _pick(message, 1, 2, 4, 5, 6)
    size = (_number(fields, 4), _number(fields, 5), _number(fields, 6))
    form = {0: 14, 1: 15, 2: 16}.get(_number(fields, 2), -1)
    return Layer(_text(fields, 1), is_output, size, size, form, 1, 0.0, 1.0, (0.0, 255.0), (), (), None)


# ------------------------------------------------------------------ protobuf


def _pick(message: int | View, *wanted: int) -> Fields:
    """The fields with these numbers, in order. Raises ValueError."""
    if isinstance(message, int):
        raise ValueError("an integer stands where a message belongs")
    found: Fields = {}
    for count, (number, value) in enumerate(walk(message)):
        if count > MAX_FIELDS:
            raise ValueError("it has too many fields")
        if number in wanted:
            found.setdefault(number, []).append(value)
    return found


def _messages(fields: Fields, number: int) -> list[View]:
    values = fields.get(number, [])
    found = [value for value in values if not isinstance(value, int)]
    if len(found) != len(values):
        raise ValueError(f"field {number} is an integer")
    return found


def _only(fields: Fields, number: int) -> View:
    """The last one wins, as protobuf demands; a message that was left out is empty."""
    return (_messages(fields, number) or [b""])[-1]


def _number(fields: Fields, number: int) -> int:
    value = fields.get(number, [0])[-1]
    if not isinstance(value, int):
        raise ValueError(f"field {number} is not an integer")
    return value


def _texts(fields: Fields, number: int) -> list[str]:
    return [_printable(bytes(value).decode("utf-8", "replace")) for value in _messages(fields, number)]


def _text(fields: Fields, number: int) -> str:
    return (_texts(fields, number) or [""])[-1]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _float(fields: Fields, number: int) -> float:
    value = _only(fields, number) or bytes(4)
    if len(value) != 4:
        raise ValueError(f"field {number} is not a float")
    return float(struct.unpack("<f", value)[0])


def _doubles(fields: Fields, number: int) -> tuple[float, ...]:
    """A list of doubles, packed into one field or each in its own."""
    packed = b"".join(bytes(value) for value in _messages(fields, number))
    return tuple(struct.unpack(f"<{len(packed) // 8}d", packed)) if len(packed) % 8 == 0 else _no_doubles(number)


def _no_doubles(number: int) -> tuple[float, ...]:
    raise ValueError(f"field {number} is not a list of doubles")
