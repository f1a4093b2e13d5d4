"""Towers of TinyCLIP's contract with next to nothing inside: a worker on the CPU that starts and answers at once."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ml_target.catalogue.networks import TINYCLIP

ROWS = 97
"""Rows of the text tower's table; ids wrap around."""


def light_models(folder: Path, wheel_models: Path) -> Path:
    """Fills `folder` with what smart search needs."""
    folder.mkdir(exist_ok=True)
    (vocabulary,) = TINYCLIP.vocabulary
    (folder / vocabulary.name).symlink_to(wheel_models / vocabulary.name)
    picture_tower(folder / TINYCLIP.visual.onnx[0].name)
    text_tower(folder / TINYCLIP.textual.onnx[0].name)
    return folder


def text_tower(file: Path, seed: int = 8) -> Path:
    """From ids to a vector, of a few numbers: the mean of what stands for the ids."""
    table = np.random.default_rng(seed).normal(size=(ROWS, TINYCLIP.width)).astype(np.float32)
    nodes = [
        helper.make_node("Mod", ["ids", "rows"], ["short"]),
        helper.make_node("Gather", ["table", "short"], ["looked_up"]),
        helper.make_node("ReduceMean", ["looked_up"], ["vector"], axes=[1], keepdims=0),
    ]
    weights = [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array(ROWS), "rows")]
    return _save(file, nodes, weights, helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 77]))


def picture_tower(file: Path, seed: int = 9) -> Path:
    """From a picture to a vector: the means of its 49 tiles, mixed."""
    mixer = np.random.default_rng(seed).normal(size=(3 * 7 * 7, TINYCLIP.width)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["picture"], ["tiles"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Flatten", ["tiles"], ["means"]),
        helper.make_node("MatMul", ["means", "mixer"], ["vector"]),
    ]
    given = helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["N", 3, 224, 224])
    return _save(file, nodes, [numpy_helper.from_array(mixer, "mixer")], given)


def _save(file: Path, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], given: onnx.ValueInfoProto) -> Path:
    result = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["N", TINYCLIP.width])
    graph = helper.make_graph(nodes, "tower", [given], [result], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    return file
