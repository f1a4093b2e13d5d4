"""What computes behind a simulated HEF: an ONNX graph, or a table of stored answers.

The weights section holds a magic, the length of a JSON text, the text, and its data. A real
HEF holds none of this: it answers a fingerprint of its input.
"""

import io
import json
import os
import struct
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xxhash

from hailo_sim.hef_file import Group, Quant, Stream

Array = npt.NDArray[Any]
Frame = Mapping[str, Array]
MAGIC = b"SIMN"


class Network(Protocol):
    """`run`: native integers in, native integers out, by stream name, shaped H x W x C."""

    def run(self, frame: Frame) -> dict[str, Array]: ...


def pack(description: Mapping[str, Any], data: bytes) -> bytes:
    """A weights section."""
    text = json.dumps(description).encode()
    return MAGIC + struct.pack("<I", len(text)) + text + data


def unpack(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Description and data; a fingerprint for the weights of a real file."""
    if payload[:4] != MAGIC:
        return {"kind": "table", "otherwise": "fingerprint"}, b""
    (size,) = struct.unpack_from("<I", payload, 4)
    description: dict[str, Any] = json.loads(payload[8 : 8 + size])
    return description, payload[8 + size :]


def open_network(group: Group, payload: bytes) -> Network:
    """The computation of a group. Raises ValueError for a kind nobody knows."""
    description, data = unpack(payload)
    if description["kind"] == "onnx":
        return OnnxGraph(group, description, data)
    if description["kind"] == "table":
        return Table(group, description, data)
    raise ValueError(f"a network of kind {description['kind']}")


# --------------------------------------------------------------- quantisation


def quantise(real: Array, stream: Stream) -> Array:
    """Round half to even, clipped to the limits and to the integers (hailort.md §4.1); one pair a feature if there."""
    scale, zero = _pairs(stream.quant)
    raw = np.divide(real.reshape(stream.shape), scale, dtype=np.float64)
    raw += zero  # in place, as everything below: these arrays are millions of numbers, a frame each
    np.rint(raw, out=raw)
    integers: Array = np.clip(raw, 0, 2**stream.bits - 1, out=raw).astype(native(stream))
    return integers


def dequantise(raw: Array, stream: Stream) -> npt.NDArray[np.float32]:
    """The real numbers behind the integers, with each feature's own pair."""
    scale, zero = _pairs(stream.quant)
    real: npt.NDArray[np.float32] = ((raw.reshape(stream.shape) - zero) * scale).astype(np.float32)
    return real


def _pairs(quant: Quant) -> tuple[Any, Any]:
    return np.array(quant.scales or quant.scale), np.array(quant.zero_points or quant.zero_point)


def native(stream: Stream) -> type[np.uint8] | type[np.uint16]:
    return np.uint8 if stream.bits == 8 else np.uint16


# -------------------------------------------------------------------- kinds

_sessions: dict[str, Any] = {}
_sessions_lock = threading.Lock()


def session(model: bytes) -> Any:
    """An ONNX Runtime session, one a content: configuring again costs nothing."""
    import onnxruntime

    digest = xxhash.xxh3_64_hexdigest(model)
    with _sessions_lock:
        if digest not in _sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.inter_op_num_threads = 1
            options.log_severity_level = 3
            _sessions[digest] = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return _sessions[digest]


def forget_sessions() -> None:
    """Frees them: large networks need not stay until the tests end. Those in use live on."""
    with _sessions_lock:
        _sessions.clear()


class OnnxGraph:
    """A plain ONNX file with normalisation before it. Outputs are found by the names the contract gives.

    With HAILO_SIM_REMEMBER, a folder, the first process that has a frame runs it, and all others read its answer.
    """

    def __init__(self, group: Group, description: Mapping[str, Any], data: bytes) -> None:
        self._group, self._description, self._data = group, description, data
        folder = os.environ.get("HAILO_SIM_REMEMBER")
        self._folder = Path(folder) if folder else None
        if self._folder is None:
            _ = self._graph

    def run(self, frame: Frame) -> dict[str, Array]:
        if self._folder is None:
            return self._compute(frame)
        file = self._folder / f"{self._digest}-{frame_hash(frame)}.npz"
        if not file.exists():
            answer = self._compute(frame)
            part = self._folder / str(uuid.uuid4())
            with part.open("wb") as opened:
                np.savez(opened, *(answer[stream.name] for stream in self._group.outputs))
            part.replace(file)
        with np.load(file) as arrays:
            return {stream.name: arrays[f"arr_{n}"] for n, stream in enumerate(self._group.outputs)}

    @cached_property
    def _digest(self) -> str:
        whole = xxhash.xxh3_64(self._data)
        whole.update(repr((self._group, self._description)).encode())
        return str(whole.hexdigest())

    @cached_property
    def _graph(self) -> Any:
        return session(self._data)

    def _compute(self, frame: Frame) -> dict[str, Array]:
        real = floats(frame, self._group, self._description, self._graph)
        return {stream.name: quantise(real[stream.name], stream) for stream in self._group.outputs}


def floats(frame: Frame, group: Group, description: Mapping[str, Any], graph: Any) -> dict[str, Array]:
    """The real-valued outputs of one frame of integers, H x W x C. `graph`: its session."""
    (stream,) = group.inputs
    raw = frame[stream.name]
    real = _normalised(raw, stream, description) if "mean" in description else dequantise(raw, stream)
    feed = {description["input"]["name"]: real.reshape(description["input"]["shape"])}
    names = [o["source"] for o in description["outputs"]]
    results = dict(zip(names, graph.run(names, feed), strict=True))
    return {
        output.name: _channels_last(results[how["source"]], output, how)
        for output, how in zip(group.outputs, description["outputs"], strict=True)
    }


def _normalised(raw: Array, stream: Stream, description: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """A picture of bytes as its network takes it, C x H x W. Each of the 256 levels is computed once a channel."""
    channels = stream.shape[2]
    levels = np.repeat(np.arange(256, dtype=np.uint8), channels)
    real = dequantise(levels, replace(stream, shape=(256, 1, channels)))[:, 0]
    tables = ((real - np.array(description["mean"], np.float32)) / np.array(description["std"], np.float32)).T
    planes = raw.reshape(stream.shape).transpose(2, 0, 1)
    return np.stack([table.take(plane) for table, plane in zip(tables, planes, strict=True)])


def _channels_last(values: Array, stream: Stream, how: Mapping[str, Any]) -> Array:
    height, width, channels = stream.shape
    if how.get("channels_first"):
        values = values.reshape(channels, height, width).transpose(1, 2, 0)
    return np.ascontiguousarray(values.reshape(stream.shape))


class Table:
    """Stored outputs by hash of the input. `otherwise`: "constant" (the first entry) or "fingerprint"."""

    def __init__(self, group: Group, description: Mapping[str, Any], data: bytes) -> None:
        self._group = group
        self._otherwise = description["otherwise"]
        self._entries: dict[str, dict[str, Array]] = {}
        if data:
            with np.load(io.BytesIO(data)) as arrays:
                for key, value in arrays.items():
                    digest, _, number = key.partition("-")
                    stream = group.outputs[int(number)]
                    self._entries.setdefault(digest, {})[stream.name] = value.reshape(stream.shape)

    def run(self, frame: Frame) -> dict[str, Array]:
        first = next(iter(self._entries.values()), None)
        if first is not None and len(self._entries) == 1 and self._otherwise == "constant":
            return first
        digest = frame_hash(frame)
        if digest in self._entries:
            return self._entries[digest]
        if first is not None and self._otherwise == "constant":
            return first
        noise = np.random.default_rng(int(digest, 16))
        return {
            stream.name: noise.integers(0, 2**stream.bits, stream.shape, native(stream))
            for stream in self._group.outputs
        }


def frame_hash(frame: Frame) -> str:
    """Tells frames apart by their bytes."""
    digest = xxhash.xxh3_64()
    for name in sorted(frame):
        digest.update(np.ascontiguousarray(frame[name]).data)
    return digest.hexdigest()


def table_data(outputs: Sequence[Stream], entries: Mapping[str, Frame]) -> bytes:
    """Stored outputs (hash -> stream name -> integers) as a payload's data."""
    arrays = {
        f"{digest}-{number}": entry[stream.name].astype(native(stream))
        for digest, entry in entries.items()
        for number, stream in enumerate(outputs)
    }
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
