"""What ONNX Runtime's engine makes of graphs of many kinds; what holds for every engine is in tests/contract."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from ml_target.catalogue.networks import ARCFACE_R50
from ml_target.catalogue.types import FeatureMap, Network, PictureInput, TextInput, TokenStates, Vector
from ml_target.engines import Engine
from ml_target.engines.onnx import arena, denormals
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.engines.onnx.network import _Normalisation
from ml_target.errors import EngineFault, ModelError, Unavailable

PICTURE = Network(
    "little_picture",
    "clip",
    "visual",
    PictureInput(4, 6, "RGB", mean=(10.0, 20.0, 30.0), std=(2.0, 4.0, 8.0)),
    ((Vector("embedding", 3),),),
    onnx=(),
)
TEXT = Network(
    "little_text",
    "clip",
    "textual",
    TextInput(5, 3),
    ((Vector("embedding", 3),), (TokenStates("tokens", 5, 3),)),
    onnx=(),
)
MAP_INPUT = PictureInput(32, 32, "RGB", mean=(1.0,) * 3, std=(2.0,) * 3)
Make = Callable[..., Path]


@pytest.fixture
def engine() -> Engine:
    return OnnxEngine(threads=1)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a graph of one node (or more) between one input and one output."""

    def write(
        nodes: list[onnx.NodeProto],
        given: tuple[int, list[int | str]],
        result: tuple[int, list[int | str]],
        constants: list[onnx.TensorProto] | None = None,
    ) -> Path:
        graph = helper.make_graph(
            nodes,
            "little",
            [helper.make_tensor_value_info("anything", *given)],
            [helper.make_tensor_value_info("whatever", *result)],
            constants or [],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / "little.onnx"
        onnx.save(model, path)
        return path

    return write


def channel_means(make: Make, batch: int | str) -> Path:
    node = helper.make_node("ReduceMean", ["anything"], ["whatever"], axes=[2, 3], keepdims=0)
    return make([node], (TensorProto.FLOAT, [batch, 3, 4, 6]), (TensorProto.FLOAT, [batch, 3]))


@pytest.mark.parametrize("batch", [1, "N"])
def test_pictures_are_normalised_and_run_one_by_one(engine: Engine, make: Make, batch: int | str) -> None:
    network = engine.open(channel_means(make, batch), PICTURE)
    assert network.intake.shape == (4, 6, 3)
    assert network.intake.dtype == "uint8"
    assert network.roles == {"embedding": (3,)}
    assert network.max_batch == 1
    frames = list(np.random.default_rng(0).integers(0, 256, (network.max_batch, 4, 6, 3), np.uint8))
    outputs = network.run(frames)
    assert len(outputs) == len(frames)
    for frame, output in zip(frames, outputs, strict=True):
        expected = (frame.reshape(-1, 3).mean(axis=0) - (10, 20, 30)) / (2, 4, 8)
        np.testing.assert_allclose(output["embedding"].real(), expected, rtol=1e-5)
        assert (output["embedding"].scale, output["embedding"].zero_point) == (1.0, 0.0)


def test_a_free_batch_that_is_flattened_away_is_not_used(engine: Engine, make: Make) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["anything"], ["means"], axes=[1], keepdims=0),
        helper.make_node("Reshape", ["means", "flat"], ["whatever"]),
    ]
    flat = helper.make_tensor("flat", TensorProto.INT64, [1], [-1])
    path = make(nodes, (TensorProto.FLOAT, ["N", 5, 3]), (TensorProto.FLOAT, ["M"]), [flat])
    assert engine.open(path, TEXT).max_batch == 1


@pytest.mark.parametrize(("element", "name"), [(TensorProto.INT32, "int32"), (TensorProto.INT64, "int64")])
def test_text_towers_that_take_ids(engine: Engine, make: Make, element: int, name: str) -> None:
    nodes = [
        helper.make_node("Cast", ["anything"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["floats", "from", "to", "axis"], ["whatever"]),
    ]
    constants = [helper.make_tensor(n, TensorProto.INT64, [1], [v]) for n, v in (("from", 0), ("to", 3), ("axis", 1))]
    path = make(nodes, (element, ["N", 5]), (TensorProto.FLOAT, ["N", 3]), constants)
    network = engine.open(path, TEXT)
    assert network.intake.is_ids
    assert network.intake.dtype == name
    (output,) = network.run([np.array([7, 8, 9, 10, 11])])
    assert output["embedding"].real().tolist() == [7, 8, 9]


def test_text_towers_that_take_embeddings_and_keep_tokens_apart(engine: Engine, make: Make) -> None:
    path = make(
        [helper.make_node("Neg", ["anything"], ["whatever"])],
        (TensorProto.FLOAT, [1, 5, 3]),
        (TensorProto.FLOAT, [1, 5, 3]),
    )
    network = engine.open(path, TEXT)
    assert not network.intake.is_ids
    assert network.intake.shape == (5, 3)
    frame = np.arange(15, dtype=np.float32).reshape(5, 3)
    np.testing.assert_array_equal(network.run([frame])[0]["tokens"].real(), -frame)


def test_files_that_do_not_fit_are_refused_in_words(engine: Engine, make: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"little.onnx does not fit arcface_r50: its input is .*3, 4, 6.*is wanted"):
        engine.open(channel_means(make, 1), ARCFACE_R50)
    with pytest.raises(ModelError, match=r"ids .* is wanted"):
        engine.open(channel_means(make, 1), TEXT)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"<html>no such key</html>")
    with pytest.raises(ModelError, match=r"broken.onnx cannot be opened.*Fetch it again"):
        engine.open(broken, PICTURE)


def test_a_frame_that_fails_is_a_fault_and_the_network_lives_on(engine: Engine, make: Make) -> None:
    network = engine.open(channel_means(make, 1), PICTURE)
    with pytest.raises(EngineFault, match="little_picture failed on a frame of"):
        network.run([np.zeros((5, 6, 3), np.uint8)])
    assert len(network.run([np.zeros((4, 6, 3), np.uint8)])) == 1


def test_denormal_numbers_count_as_zero_in_a_run_and_nowhere_else(engine: Engine, make: Make) -> None:
    """The smallest normal number, halved in the network: what the thread that calls `run` computes."""
    path = make(
        [helper.make_node("Mul", ["anything", "half"], ["whatever"])],
        (TensorProto.FLOAT, [1, 5, 3]),
        (TensorProto.FLOAT, [1, 5, 3]),
        [helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5])],
    )
    network = engine.open(path, TEXT)
    frame = np.full((5, 3), np.finfo(np.float32).tiny, np.float32)
    (output,) = network.run([frame])
    halved = output["tokens"].real()
    assert (frame * np.float32(0.5)).all(), "this thread has its denormals again"
    if denormals._library() is not None:
        assert not halved.any()
    np.testing.assert_array_equal(network.run([frame * 4])[0]["tokens"].real(), frame * 2)


def test_pixels_are_normalised_as_the_table_says_to_the_bit() -> None:
    spec = ARCFACE_R50.input
    assert isinstance(spec, PictureInput)
    frame = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    expected = ((np.arange(256) - spec.mean[0]) / spec.std[0]).astype(np.float32).reshape(16, 16)
    for plane in _Normalisation(spec)([frame])[0]:
        np.testing.assert_array_equal(plane, expected)


def test_memory_that_inferences_took_is_given_back_at_rest(engine: Engine, make: Make) -> None:
    free: list[int | str] = ["N", 3, "H", "W"]
    path = make(
        [helper.make_node("Relu", ["anything"], ["whatever"])], (TensorProto.FLOAT, free), (TensorProto.FLOAT, free)
    )
    network = Network("free", "ocr", "detection", MAP_INPUT, ((FeatureMap("map", 1, 3),),), onnx=())
    loaded = engine.open(path, network)
    before = loaded.run([np.full((32, 32, 3), 7, np.uint8)])[0]["map"].real()
    engine.rest()
    np.testing.assert_array_equal(loaded.run([np.full((32, 32, 3), 7, np.uint8)])[0]["map"].real(), before)
    large = np.full((1040, 1024, 3), 7, np.uint8)
    assert (loaded.run([large])[0]["map"].real() == before[0, 0, 0]).all()


def test_the_file_that_shrinks_the_arena_is_a_network_of_one_identity() -> None:
    model = onnx.load_from_string(arena._IDENTITY)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Identity"]


def test_a_network_whose_file_was_replaced_is_not_loaded_again(engine: Engine, make: Make) -> None:
    path = channel_means(make, 1)
    network = engine.open(path, PICTURE)
    engine.unload()
    content = path.read_bytes()
    path.write_bytes(content + b"")
    os.utime(path, ns=(0, 0))
    with pytest.raises(Unavailable, match=r"another file than .* at the start. Restart the worker"):
        engine.reload()
    path.unlink()
    with pytest.raises(Unavailable, match=r"little_picture cannot be loaded again .*No such file.*Put the file back"):
        engine.reload()
    with pytest.raises(EngineFault):
        network.run([np.zeros((4, 6, 3), np.uint8)])
