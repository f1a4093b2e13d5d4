"""Builds simulated HEF files: from an ONNX file and its contract, from tables, or tiny ones from nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hailo_sim.contracts import PICTURE, SCORE, affine, group_of, make_group
from hailo_sim.hef_file import Group, Quant, Stream, read_buffer
from hailo_sim.hef_writer import write_hef
from hailo_sim.networks import Array, Frame, floats, frame_hash, open_network, pack, quantise, session, table_data
from ml_target.catalogue.networks import FACE_DETECTORS
from ml_target.catalogue.types import Network, PictureInput

MARGIN = 0.25
"""How far a range reaches beyond the extremes of a few samples, as a share: a compiler sees a thousand."""
_SCRFD_SOURCES = {  # (stride, channels) -> name in the publisher's ONNX file
    (8, 2): "446",
    (8, 8): "449",
    (8, 20): "452",
    (16, 2): "466",
    (16, 8): "469",
    (16, 20): "472",
    (32, 2): "486",
    (32, 8): "489",
    (32, 20): "492",
}
Fixed = (PICTURE, SCORE)


@dataclass(frozen=True, slots=True)
class Source:
    """Where an output comes from in the ONNX file. `channels_first`: it must be turned to H x W x C there."""

    name: str
    channels_first: bool = False


def from_onnx(
    network: Network,
    onnx: Path,
    samples: Sequence[Array],
    *,
    group: Group | None = None,
    sources: Sequence[Source] | None = None,
    chip: str = "hailo8",
    scale: Callable[[Quant], Quant] | None = None,
) -> bytes:
    """A HEF for a catalogue network, answering as `onnx` does with the outputs' rounding.

    `samples`: frames as the worker hands them over (uint8 pictures; for text towers float32
    embeddings); ranges are calibrated on them, except where the real file's are known (SCRFD,
    probabilities). `scale` changes each output's pair afterwards, to make unusual files.
    """
    group = group or group_of(network)
    data = onnx.read_bytes()
    description = _describe(network, group, data, sources)
    group = _calibrated(group, description, data, samples)
    if scale is not None:
        group = replace(group, outputs=tuple(replace(s, quant=scale(s.quant)) for s in group.outputs))
    return write_hef([group], pack(description, data), chip=chip)


def _describe(network: Network, group: Group, data: bytes, sources: Sequence[Source] | None) -> dict[str, object]:
    graph = session(data)
    (given,) = graph.get_inputs()
    height, width, channels = group.inputs[0].shape
    description: dict[str, object] = {"kind": "onnx"}
    if isinstance(network.input, PictureInput):
        description |= {"mean": network.input.mean, "std": network.input.std}
        shape = [1, channels, height, width]
    else:
        shape = [1, network.input.tokens, network.input.width]
    description["input"] = {"name": given.name, "shape": shape}
    if sources is None:
        sources = _sources(network, group, [o.name for o in graph.get_outputs()])
    description["outputs"] = [{"source": s.name, "channels_first": s.channels_first} for s in sources]
    return description


def _sources(network: Network, group: Group, names: list[str]) -> list[Source]:
    """By the publisher's names for SCRFD; the only output elsewhere (one channel has no order to turn)."""
    if network.name in FACE_DETECTORS:
        return [Source(_SCRFD_SOURCES[640 // s.shape[0], s.shape[2]]) for s in group.outputs]
    return [Source(names[0])]


def _calibrated(group: Group, description: Mapping[str, object], data: bytes, samples: Sequence[Array]) -> Group:
    """The group with ranges that fit the samples' activations."""
    (given,) = group.inputs
    if given.quant not in Fixed:
        low, high = _extremes([np.asarray(sample) for sample in samples])
        given = replace(given, quant=affine(low, high, given.bits))
        samples = [quantise(sample, given) for sample in samples]
    group = replace(group, inputs=(given,))
    free = [s for s in group.outputs if s.quant not in Fixed and "/conv" not in _scrfd_name(s)]
    if not free:
        return group
    graph = session(data)
    seen = [floats({given.name: sample}, group, description, graph) for sample in samples]
    fitted = {s.name: affine(*_extremes([real[s.name] for real in seen]), s.bits) for s in free}
    return replace(group, outputs=tuple(replace(s, quant=fitted.get(s.name, s.quant)) for s in group.outputs))


def _scrfd_name(stream: Stream) -> str:
    """The name where the pair is a real file's and stays."""
    return stream.name if stream.name.startswith("scrfd") else ""


def _extremes(arrays: Sequence[Array]) -> tuple[float, float]:
    low = float(min(array.min() for array in arrays))
    high = float(max(array.max() for array in arrays))
    return low - MARGIN * (high - low), high + MARGIN * (high - low)


# --------------------------------------------------------------------- tables


def from_table(group: Group, entries: Sequence[tuple[Frame, Frame]] = (), *, chip: str = "hailo8") -> bytes:
    """Answers from a table of (input integers, output integers), else what is stored first; a fingerprint if empty.

    For benches: the card's time without the host's arithmetic.
    """
    stored = {frame_hash(given): answer for given, answer in entries}
    otherwise = "constant" if stored else "fingerprint"
    data = table_data(group.outputs, stored) if stored else b""
    return write_hef([group], pack({"kind": "table", "otherwise": otherwise}, data), chip=chip)


def tabulated(
    network: Network, onnx: Path, samples: Sequence[Array], frames: Sequence[Array], *, chip: str = "hailo8"
) -> bytes:
    """As `from_onnx`, but the answers for `frames` are computed now and stored; other frames get the first's."""
    file = read_buffer(from_onnx(network, onnx, samples, chip=chip))
    (group,) = file.groups
    (given,) = group.inputs
    network_inside = open_network(group, file.payload)
    raw: list[Frame] = [{given.name: f if f.dtype == np.uint8 else quantise(f, given)} for f in frames]
    return from_table(group, [(frame, network_inside.run(frame)) for frame in raw], chip=chip)


def constant(group: Group, answer: Frame, *, chip: str = "hailo8") -> bytes:
    """One answer for everything. Outputs left out hold their zero point."""
    nothing: Frame = {s.name: np.zeros(s.shape, np.uint8 if s.bits == 8 else np.uint16) for s in group.inputs}
    whole = {s.name: answer.get(s.name, quantise(np.zeros(s.shape), s)) for s in group.outputs}
    return from_table(group, [(nothing, whole)], chip=chip)


def fingerprint(network: Network, *, chip: str = "hailo8", form: int = 0) -> bytes:
    """A catalogue network that answers noise which its input alone determines: small and fast, for soaks."""
    return from_table(group_of(network, form=form), chip=chip)


def faces(network: Network, cells: Sequence[tuple[int, int]], *, chip: str = "hailo8") -> bytes:
    """A face detector that finds the same faces in every picture: one at each (row, column) of stride 16."""
    group = group_of(network)
    real = {s.name: np.zeros(s.shape) for s in group.outputs}
    boxes, scores, landmarks = (s.name for s in group.outputs[3:6])
    points = np.array([-1, -1, 1, -1, 0, 0, -0.8, 1, 0.8, 1])
    for row, column in cells:
        real[scores][row, column, 0] = 0.9
        real[boxes][row, column, :4] = 2.5
        real[landmarks][row, column, :10] = points
    return constant(group, {s.name: quantise(real[s.name], s) for s in group.outputs}, chip=chip)


def text_areas(network: Network, boxes: Sequence[tuple[int, int, int, int]], *, chip: str = "hailo8") -> bytes:
    """A text detector that finds the same lines in every picture: (left, top, right, bottom) in canvas pixels."""
    group = group_of(network)
    (stream,) = group.outputs
    real = np.zeros(stream.shape)
    for left, top, right, bottom in boxes:
        real[top:bottom, left:right] = 0.95
    return constant(group, {stream.name: quantise(real, stream)}, chip=chip)


def tiny(
    name: str = "tiny",
    shape: tuple[int, int, int] = (2, 2, 3),
    width: int = 8,
    *,
    bits: int = 8,
    input_bits: int = 8,
    contexts: int = 1,
    outputs: int = 1,
    chip: str = "hailo8",
) -> bytes:
    """A network of a few bytes that answers a fingerprint of its input."""
    given = PICTURE if input_bits == 8 else affine(-1, 1, 16)
    inputs = [Stream(f"{name}/input_layer1", shape, "NHWC", input_bits, given, False)]
    given_out = affine(-2, 2, bits)
    results = [Stream(f"{name}/fc{i + 1}", (1, 1, width), "NC", bits, given_out, True) for i in range(outputs)]
    return from_table(make_group(name, inputs, results, contexts), chip=chip)
