"""Networks for the selfcheck on the simulated card: real ones for faces and text, small towers for search.

The towers have TinyCLIP's contract, with the text tower cut as its HEF is (embeddings in, states before the last
layer norm out). Their tables are made so that each query of the samples finds its picture.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hailo_sim.build import from_onnx
from hailo_sim.contracts import group_of
from onnx import TensorProto, helper, numpy_helper
from simulated_card import DETECTOR, EMBEDDER, OCR_FILES, hef_path, write_text_files

from ml_target.catalogue import files
from ml_target.catalogue.networks import ARCFACE_R50, EMBEDDING, SCRFD_2_5G, TINYCLIP
from ml_target.catalogue.types import Network
from ml_target.diagnostics.checks.samples import FACE_LANDMARKS, FINDS, QUERIES, Samples, lights
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.tasks.clip.resize import shortest_side_crop
from ml_target.tasks.clip.tokenizer import open_tokenizer
from ml_target.tasks.faces.align import align
from ml_target.tensors import Array, Float32

TOKENS, WIDTH, WORDS = 77, 512, 49_408
TELLING = ("boy", "beard", "woman", "letters", "bread")
"""A word of each query of `FINDS` that is in no other query."""

Change = Callable[[onnx.ModelProto], None]


def write_models(folder: Path, face_models: Path, wheel_models: Path) -> None:
    """All files of the default settings, of the same networks for the card and for the processor."""
    write_text_files(folder, wheel_models)
    for _, name in OCR_FILES:
        (folder / name).symlink_to(wheel_models / name)
    for network, name in ((SCRFD_2_5G, DETECTOR), (ARCFACE_R50, EMBEDDER)):
        onnx_path(folder, network).symlink_to(face_models / name)
        write_hef(folder, network)
    (folder / files.CLIP_VOCABULARY.name).symlink_to(wheel_models / files.CLIP_VOCABULARY.name)
    _write_towers(folder)
    for network in (TINYCLIP.visual, TINYCLIP.textual):
        write_hef(folder, network)


def onnx_path(folder: Path, network: Network) -> Path:
    """Where the processor's file lies."""
    return folder / network.onnx[0].name


def write_hef(folder: Path, network: Network, change: Change | None = None) -> None:
    """Compiles the processor's file, changed before if wanted, for the simulated card."""
    source = onnx_path(folder, network)
    if network is TINYCLIP.textual:
        source = folder / "tower_before_norm.onnx"
    if change is not None:
        model = onnx.load(str(source))
        change(model)
        source = folder / "changed.onnx"
        onnx.save(model, str(source))
    group = group_of(network, form=1 if network is TINYCLIP.textual else 0)
    hef_path(folder, network).write_bytes(from_onnx(network, source, _samples(folder, network), group=group))


def _samples(folder: Path, network: Network) -> list[Array]:
    """What the ranges of the outputs are fitted to."""
    if network is ARCFACE_R50:
        return list(lights(align(Samples.load().board, FACE_LANDMARKS)))
    if network is TINYCLIP.visual:
        return [shortest_side_crop(picture, 224) for picture in Samples.load().gallery()]
    if network is TINYCLIP.textual:
        tokenizer = open_tokenizer("clip", [folder / files.CLIP_VOCABULARY.name])
        with np.load(folder / files.TINYCLIP_TEXT_WEIGHTS.name) as weights:
            tokens = weights["tokens"]
        return [np.asarray(tokens[tokenizer.encode(query)], np.float32) for query in QUERIES]
    return []


# ----------------------------------------------------------------- wrong ones


def swap_colours(model: onnx.ModelProto) -> None:
    """The first convolution takes red for blue."""
    _change_weights(model, lambda weights: weights[:, ::-1], first_only=True)


def other_weights(model: onnx.ModelProto) -> None:
    """As if it were another network's: every filter is the one of another channel."""
    _change_weights(model, lambda weights: weights[::-1], first_only=False)


def _change_weights(model: onnx.ModelProto, change: Callable[[Array], Array], *, first_only: bool) -> None:
    by_name = {tensor.name: tensor for tensor in model.graph.initializer}
    by_name |= {node.output[0]: node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        tensor = by_name[node.input[1]]
        weights = np.ascontiguousarray(change(numpy_helper.to_array(tensor)))
        tensor.CopyFrom(numpy_helper.from_array(weights, tensor.name))
        if first_only:
            return


# --------------------------------------------------------------------- towers


def _write_towers(folder: Path) -> None:
    rng = np.random.default_rng(11)
    filters = rng.normal(0, 1 / 32, (WIDTH, 3, 32, 32)).astype(np.float32)
    filters -= 0.9 * filters.mean(axis=(2, 3), keepdims=True)  # edges count for more than brightness
    _save(
        onnx_path(folder, TINYCLIP.visual),
        [
            helper.make_node("Conv", ["given", "filters"], ["felt"], strides=[32, 32]),
            helper.make_node("Tanh", ["felt"], ["bent"]),
            helper.make_node("ReduceMean", ["bent"], ["result"], axes=[2, 3], keepdims=0),
        ],
        [1, 3, 224, 224],
        [1, WIDTH],
        {"filters": filters},
    )
    pictures = _picture_vectors(folder)
    tokenizer = open_tokenizer("clip", [folder / files.CLIP_VOCABULARY.name])
    tokens = rng.normal(0, 0.1, (WORDS, WIDTH)).astype(np.float32)
    for (_, part), word in zip(FINDS.items(), TELLING, strict=True):
        tokens[tokenizer.encode(word)[1]] = 3 * pictures[part]
    weights = {
        "tokens": tokens.astype(np.float16),
        "positions": rng.normal(0, 0.02, (TOKENS, WIDTH)).astype(np.float16),
        "norm_weight": np.ones(WIDTH, np.float16),
        "norm_bias": np.zeros(WIDTH, np.float16),
        "projection": np.eye(WIDTH, dtype=np.float16),
    }
    np.savez(folder / files.TINYCLIP_TEXT_WEIGHTS.name, **weights)  # type: ignore[arg-type]
    causal = np.tril(np.ones((TOKENS, TOKENS), np.float32)) / np.arange(1, TOKENS + 1, dtype=np.float32)[:, None]
    nodes = [
        helper.make_node("Add", ["given", "positions"], ["placed"]),
        helper.make_node("MatMul", ["causal", "placed"], ["before"]),
    ]
    norm = helper.make_node("LayerNormalization", ["before", "norm_weight", "norm_bias"], ["result"])
    constants = {"causal": causal, **{name: weights[name].astype(np.float32) for name in weights if name != "tokens"}}
    shape = [1, TOKENS, WIDTH]
    _save(onnx_path(folder, TINYCLIP.textual), [*nodes, norm], shape, shape, constants)
    nodes[1].output[0] = "result"
    _save(folder / "tower_before_norm.onnx", nodes, shape, shape, constants)


def _picture_vectors(folder: Path) -> dict[str, Float32]:
    """Of each part, without its mean and as long as a layer norm leaves it."""
    tower = OnnxEngine(threads=1).open(onnx_path(folder, TINYCLIP.visual), TINYCLIP.visual)
    vectors = {}
    for name, picture in Samples.load().parts().items():
        (outputs,) = tower.run([shortest_side_crop(picture, 224)])
        vector = outputs[EMBEDDING].real().reshape(-1)
        vectors[name] = (vector - vector.mean()) / vector.std()
    return vectors


def _save(path: Path, nodes: list[Any], given: list[int], result: list[int], constants: dict[str, Array]) -> None:
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "tower",
        [helper.make_tensor_value_info("given", TensorProto.FLOAT, given)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, result)],
        [numpy_helper.from_array(values, name) for name, values in constants.items() if name in used],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
