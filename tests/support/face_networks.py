"""Small stand-ins for the face networks, made on the spot: they find and tell apart the four faces of the project's
own pictures (`board.jpg` of the selfcheck, tests/test.jpg), and have the form of the real files.

The detector is a matched filter: its score is the correlation of a 64 px window with the faces as the letterbox
shows them, whatever the light. The embedder is random filters. What real networks do with real photos,
tests/parity shows.
"""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from simulated_card import DETECTOR, EMBEDDER

from ml_target.diagnostics.checks.samples import FACE_BOXES, FACE_LANDMARKS, Samples
from ml_target.tasks.faces.letterbox import letterbox
from ml_target.tensors import Array

FRAME, STRIDE, WINDOW = 640, 16, 64
SHIFTS = (0, STRIDE // 2)
"""Filters lie so many pixels beside the cell where the board has the face: wherever it is, one is within 4 pixels."""
LIKENESS, STEEPNESS = 0.7, 25.0
"""The correlation that is a score of 0.5, and how fast the score follows it."""


def write_face_networks(folder: Path) -> Path:
    """Both files, under the names of the real ones."""
    _detector(folder / DETECTOR)
    _embedder(folder / EMBEDDER)
    return folder


def _detector(path: Path) -> None:
    frame, scale = letterbox(Samples.load().board, FRAME, FRAME)
    pixels = (np.pad(frame, ((WINDOW, WINDOW), (WINDOW, WINDOW), (0, 0))).astype(np.float32) - 127.5) / 128
    faces = list(zip(FACE_BOXES * scale, FACE_LANDMARKS * scale, strict=True))
    filters, sides = [], []
    for (box, points), shift in product(faces, product(SHIFTS, SHIFTS)):
        cell = (np.rint((box[:2] + box[2:]) / 2 / STRIDE) * STRIDE).astype(int) + shift
        x, y = cell + WINDOW // 2
        patch = pixels[y : y + WINDOW, x : x + WINDOW].transpose(2, 0, 1)
        filters.append((patch - patch.mean()) / np.linalg.norm(patch - patch.mean()))
        sides.append(np.concatenate([cell - box[:2], box[2:] - cell, (points - cell).ravel()]) / STRIDE)
    count = len(filters)
    pads = [WINDOW // 2, WINDOW // 2, WINDOW // 2 - STRIDE, WINDOW // 2 - STRIDE]
    window = {"kernel_shape": [WINDOW, WINDOW], "strides": [STRIDE, STRIDE], "pads": pads}
    pool = {**window, "count_include_pad": 1}
    nodes = [
        helper.make_node("Conv", ["input.1", "filters"], ["product"], **window),
        helper.make_node("Mul", ["input.1", "input.1"], ["squares"]),
        helper.make_node("ReduceMean", ["input.1"], ["grey"], axes=[1]),
        helper.make_node("ReduceMean", ["squares"], ["grey squares"], axes=[1]),
        helper.make_node("AveragePool", ["grey"], ["mean"], **pool),
        helper.make_node("AveragePool", ["grey squares"], ["mean of squares"], **pool),
        helper.make_node("Mul", ["mean", "mean"], ["square of mean"]),
        helper.make_node("Sub", ["mean of squares", "square of mean"], ["variance"]),
        helper.make_node("Max", ["variance", "least"], ["at least"]),
        helper.make_node("Mul", ["at least", "values"], ["energy"]),
        helper.make_node("Sqrt", ["energy"], ["length"]),
        helper.make_node("Div", ["product", "length"], ["likeness"]),
        helper.make_node("ReduceMax", ["likeness"], ["best"], axes=[1]),
        helper.make_node("Sub", ["best", "limit"], ["above"]),
        helper.make_node("Mul", ["above", "steep"], ["steeper"]),
        helper.make_node("Sigmoid", ["steeper"], ["score"]),
        helper.make_node("Mul", ["likeness", "sharp"], ["sharper"]),
        helper.make_node("Softmax", ["sharper"], ["which"], axis=1),
        helper.make_node("Conv", ["which", "sides"], ["geometry"]),
        helper.make_node("Slice", ["geometry", "0", "4", "axis"], ["box"]),
        helper.make_node("Slice", ["geometry", "4", "14", "axis"], ["points"]),
    ]
    constants: dict[str, Array] = {
        "filters": np.array(filters, np.float32),
        "sides": np.array(sides, np.float32).T.reshape(14, count, 1, 1),
        "values": np.array(3 * WINDOW * WINDOW, np.float32),
        "least": np.array(1e-3, np.float32),
        "limit": np.array(LIKENESS, np.float32),
        "steep": np.array(STEEPNESS, np.float32),
        "sharp": np.array(200, np.float32),
        "nothing": np.array(0, np.float32),
        "axis": np.array([1]),
        **{str(n): np.array([n]) for n in (0, 4, 14)},
    }
    outputs = []
    for level, stride in enumerate((8, 16, 32)):
        for name, channels, number in (("score", 1, 446), ("box", 4, 449), ("points", 10, 452)):
            outputs.append((str(number + 20 * level), channels))  # the published file's names
            nodes += _level(outputs[-1][0], name, channels, stride, constants)
    _save(path, nodes, ("input.1", [1, 3, FRAME, FRAME]), outputs, constants)


def _level(output: str, name: str, channels: int, stride: int, constants: dict[str, Array]) -> list[onnx.NodeProto]:
    """An output of a level: for each cell what was found, and a second anchor that is empty. Other levels are zeros."""
    side = FRAME // stride
    if stride != STRIDE:
        constants[f"{output} empty"] = np.zeros((2 * side * side, channels), np.float32)
        # Beside the input, because a graph's output has to come of it.
        return [
            helper.make_node("ReduceMin", ["variance"], [f"{output} any"], keepdims=0),
            helper.make_node("Mul", [f"{output} any", "nothing"], [f"{output} zero"]),
            helper.make_node("Add", [f"{output} empty", f"{output} zero"], [output]),
        ]
    constants[f"{name} rows"] = np.array([2 * side * side, channels])
    return [
        helper.make_node("Mul", [name, "nothing"], [f"{name} second"]),
        helper.make_node("Concat", [name, f"{name} second"], [f"{name} both"], axis=1),
        helper.make_node("Transpose", [f"{name} both"], [f"{name} last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", [f"{name} last", f"{name} rows"], [output]),
    ]


def _embedder(path: Path) -> None:
    rng = np.random.default_rng(12)
    filters = rng.normal(0, 1 / 16, (32, 3, 16, 16)).astype(np.float32)
    filters -= filters.mean(axis=(2, 3), keepdims=True) * np.float32(0.9)
    nodes = [
        helper.make_node("Conv", ["input", "filters"], ["felt"], strides=[16, 16]),
        helper.make_node("Tanh", ["felt"], ["bent"]),
        helper.make_node("Flatten", ["bent"], ["flat"]),
        helper.make_node("MatMul", ["flat", "mixer"], ["output"]),
    ]
    mixer = rng.normal(0, 1 / 32, (32 * 7 * 7, 512)).astype(np.float32)
    _save(path, nodes, ("input", [1, 3, 112, 112]), [("output", 512)], {"filters": filters, "mixer": mixer})


def _save(
    path: Path,
    nodes: list[Any],
    given: tuple[str, list[int]],
    outputs: list[tuple[str, int]],
    constants: dict[str, Array],
) -> None:
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [helper.make_tensor_value_info(given[0], TensorProto.FLOAT, given[1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, channels]) for name, channels in outputs],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
