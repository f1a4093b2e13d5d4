"""Which GELU a tower computes, read from its ONNX file.

OpenAI trained its CLIP with QuickGELU, x * sigmoid(1.702 x). Some exports of the same weights compute GELU instead:
then vectors move, and a picture tower of one kind and a text tower of the other search worse.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from ml_target.hef.protobuf import walk

Activation = Literal["GELU", "QuickGELU", ""]
"""Empty where the file does not tell."""

_GELU_OPS = (b"Erf", b"Gelu", b"FastGelu", b"BiasGelu")
_QUICK_OPS = (b"QuickGelu",)
_SLOPE = 1.702

# Field numbers of onnx.proto: ModelProto.graph; GraphProto.node, .initializer; NodeProto.op_type, .attribute;
# AttributeProto.t; TensorProto.float_data, .raw_data.
_GRAPH, _NODE, _INITIALIZER, _OP_TYPE, _ATTRIBUTE, _TENSOR, _FLOATS, _RAW = 7, 1, 5, 4, 5, 5, 4, 9
_SMALL = 64
"""Bytes of a message that may hold one number; weights are skipped unread."""


def activation_of(file: Path) -> Activation:
    """Of an ONNX file; "" for any other, or where none is found."""
    try:
        with file.open("rb") as stream:
            # Not closed by hand: after an error views of it are still alive; it goes with the last of them.
            return _activation(memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)))
    except (OSError, ValueError):
        return ""


def _activation(model: memoryview) -> Activation:
    operations: set[bytes] = set()
    slope = False
    for graph in _messages(model, _GRAPH):
        slope |= any(map(_is_slope, _messages(graph, _INITIALIZER)))
        for node in _messages(graph, _NODE):
            operations.update(map(bytes, _messages(node, _OP_TYPE)))
            slope |= any(
                _is_slope(tensor) for each in _messages(node, _ATTRIBUTE) for tensor in _messages(each, _TENSOR)
            )
    if operations.intersection(_QUICK_OPS) or (b"Sigmoid" in operations and slope):
        return "QuickGELU"
    return "GELU" if operations.intersection(_GELU_OPS) else ""


def _messages(message: memoryview, wanted: int) -> Iterator[memoryview]:
    for number, field in walk(message):
        if number == wanted and isinstance(field, memoryview):
            yield field


def _is_slope(tensor: memoryview) -> bool:
    """Whether a tensor is the one number 1.702, as float32 or float16."""
    if len(tensor) > _SMALL:
        return False
    for number, field in walk(tensor):
        if number in (_RAW, _FLOATS) and isinstance(field, memoryview):
            kind = {2: np.float16, 4: np.float32}.get(len(field))
            if kind is not None and abs(float(np.frombuffer(bytes(field), kind)[0]) - _SLOPE) < 1e-3:
                return True
    return False
