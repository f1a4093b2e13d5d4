"""Networks in the form of Immich's `buffalo_l`: the published architecture and names, not the published weights."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ml_target.tensors import Array

BLOCKS, CHANNELS = (3, 4, 14, 3), (64, 128, 256, 512)
"""IResNet-50's stages."""

SIDE, VECTOR = 112, 512
DETECTOR_OUTPUTS = ("448", "471", "494", "451", "474", "497", "454", "477", "500")
"""det_10g's, in its order: scores of the strides 8, 16 and 32, then boxes, then landmarks."""


class _Graph:
    """Nodes and seeded weights, one after the other."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[Any] = []
        self.weights: dict[str, Array] = {}
        self._random = np.random.default_rng(seed)

    def add(self, kind: str, given: str, weights: dict[str, Array], output: str = "", **attributes: Any) -> str:
        """A node with weights of its own; returns its output."""
        name = output or f"{kind.lower()}_{len(self.nodes)}"
        own = {f"{name}.{key}": values for key, values in weights.items()}
        self.weights |= own
        self.nodes.append(helper.make_node(kind, [given, *own], [name], **attributes))
        return name

    def conv(self, given: str, wide: int, narrow: int, side: int, stride: int = 1) -> str:
        """`wide` channels to `narrow`, filters of `side` x `side`."""
        weight = self.noise(narrow, wide, side, side) * (2 / (wide * side * side)) ** 0.5
        pads = [side // 2] * 4
        return self.add(
            "Conv", given, {"w": weight, "b": 0.1 * self.noise(narrow)}, strides=[stride, stride], pads=pads
        )

    def norm(self, given: str, channels: int, scale: float = 1.0, output: str = "") -> str:
        shift, mean = 0.1 * self.noise(channels), 0.1 * self.noise(channels)
        gain = (scale * (1 + 0.1 * self.noise(channels))).astype(np.float32)
        spread = (1 + 0.1 * np.abs(self.noise(channels))).astype(np.float32)
        return self.add("BatchNormalization", given, {"s": gain, "b": shift, "m": mean, "v": spread}, output)

    def noise(self, *shape: int) -> Array:
        return self._random.standard_normal(shape, np.float32)


def write_w600k_r50(path: Path, width: float = 1.0, seed: int = 50) -> Path:
    """IResNet-50 from `input.1` (batch x 3 x 112 x 112) to `683` (batch x 512). `width`: share of the channels."""
    graph = _Graph(seed)
    channels = [round(width * each) for each in CHANNELS]
    last = graph.conv("input.1", 3, channels[0], 3)
    last = graph.add("PRelu", last, {"a": np.full((channels[0], 1, 1), 0.25, np.float32)})
    wide = channels[0]
    for blocks, narrow in zip(BLOCKS, channels, strict=True):
        for block in range(blocks):
            stride = 2 if block == 0 else 1
            inner = graph.conv(graph.norm(last, wide), wide, narrow, 3)
            inner = graph.add("PRelu", inner, {"a": np.full((narrow, 1, 1), 0.25, np.float32)})
            inner = graph.conv(inner, narrow, narrow, 3, stride)
            beside = graph.conv(last, wide, narrow, 1, stride) if block == 0 else last
            last = f"add_{len(graph.nodes)}"
            # Halved, so that values stay in range without trained norms.
            half = graph.add("Mul", inner, {"half": np.array(0.5, np.float32)})
            graph.nodes.append(helper.make_node("Add", [half, beside], [last]))
            wide = narrow
    cells = (SIDE // 2 ** len(BLOCKS)) ** 2
    graph.nodes.append(helper.make_node("Flatten", [graph.norm(last, wide)], ["flat"]))
    weight = graph.noise(VECTOR, wide * cells) * (wide * cells) ** -0.5
    last = graph.add("Gemm", "flat", {"w": weight, "b": 0.1 * graph.noise(VECTOR)}, transB=1)
    graph.norm(last, VECTOR, output="683")
    onnx.save(
        helper.make_model(
            helper.make_graph(
                graph.nodes,
                "w600k_r50",
                [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, ["None", 3, SIDE, SIDE])],
                [helper.make_tensor_value_info("683", TensorProto.FLOAT, ["None", VECTOR])],
                [numpy_helper.from_array(values.astype(np.float32), name) for name, values in graph.weights.items()],
            ),
            opset_imports=[helper.make_opsetid("", 11)],
            ir_version=6,
        ),
        str(path),
    )
    return path


def write_det_10g(path: Path, scrfd: Path) -> Path:
    """A SCRFD with landmarks under det_10g's names and in its order. `scrfd`: as InsightFace exports it."""
    model = onnx.load(str(scrfd))
    own = list(model.graph.output)
    in_order = sorted(own, key=lambda output: (output.type.tensor_type.shape.dim[-1].dim_value, int(output.name)))
    names = {output.name: name for output, name in zip(in_order, DETECTOR_OUTPUTS, strict=True)}
    names = {name: f"inner {name}" for name in DETECTOR_OUTPUTS} | names
    for node in model.graph.node:
        for side in (node.input, node.output):
            side[:] = [names.get(name, name) for name in side]
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    del model.graph.output[:], model.graph.value_info[:]
    for output in in_order:
        output.name = names[output.name]
        model.graph.output.append(output)
    onnx.save(model, str(path))
    return path
