"""Simulated networks: as accurate as tensors of 8 or 16 bits, readable as real files, built in every form."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnx
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import constant, faces, fingerprint, from_onnx, from_table, tabulated, text_areas, tiny
from hailo_sim.contracts import group_of
from hailo_sim.cutting import End, text_tower
from hailo_sim.driving import Driven, open_device
from hailo_sim.enums import FormatType
from hailo_sim.hef_file import Quant, read_buffer
from hailo_sim.networks import Array, dequantise, floats, open_network, quantise
from light_towers import picture_tower
from onnx import TensorProto, helper, numpy_helper
from pictures import read_rgb
from PIL import Image
from project import TESTS
from simulated_card import EMBEDDER

from ml_target.catalogue.networks import (
    ARCFACE_R50,
    OCR_DETECTION,
    OCR_RECOGNITION,
    SCRFD_2_5G,
    SCRFD_10G,
    SIGLIP,
    STAND_IN_EMBEDDER,
    TINYCLIP,
)
from ml_target.catalogue.types import Network, TextInput, TokenStates, Vector
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.hef import header as hef
from ml_target.tasks.faces.scrfd import decode
from ml_target.tensors import Tensor


@pytest.fixture
def device() -> Iterator[Any]:
    with simulated(Rig(clock="virtual")):
        opened = open_device(importlib.import_module("hailo_platform"))
        yield opened
        opened.release()


def answers(device: Any, content: bytes, frame: Array) -> dict[str, Array]:
    """The raw outputs of one frame, by name."""
    driven = Driven(device, content)
    try:
        bindings = driven.frame()
        bindings.input().set_buffer(np.array(frame, order="C"))  # a copy: Pillow's arrays are read-only
        assert driven.submit([bindings]).result() is None
        return {name: bindings.output(name).get_buffer() for name in driven.infer.output_names}
    finally:
        driven.close()


def cosine(a: Array, b: Array) -> float:
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def canvas(photo: Path) -> Array:
    """The photo in the corner of 640 x 640."""
    picture = Image.fromarray(read_rgb(photo))
    picture.thumbnail((640, 640))
    frame = np.zeros((640, 640, 3), np.uint8)
    frame[: picture.height, : picture.width] = np.asarray(picture)
    return frame


# -------------------------------------------------------------------- accuracy


def test_what_is_remembered_is_what_was_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HAILO_SIM_REMEMBER: every frame gets its own answer, as often as it comes, in this process and the next."""
    frames = [np.full((224, 224, 3), value, np.uint8) for value in (9, 200, 9, 30, 200)]
    file = read_buffer(from_onnx(TINYCLIP.visual, picture_tower(tmp_path / "tower.onnx"), frames))
    (group,) = file.groups
    given, taken = group.inputs[0].name, group.outputs[0].name
    computed = [open_network(group, file.payload).run({given: frame})[taken] for frame in frames]
    monkeypatch.setenv("HAILO_SIM_REMEMBER", str(tmp_path))
    compute = Mock(wraps=floats)
    monkeypatch.setattr("hailo_sim.networks.floats", compute)
    for network in (open_network(group, file.payload), open_network(group, file.payload)):
        for frame, expected in zip(frames, computed, strict=True):
            answer = network.run({given: frame})[taken]
            assert np.array_equal(answer, expected)
            answer += 1  # it is the caller's own
    assert compute.call_count == 3
    other = read_buffer(from_onnx(TINYCLIP.visual, picture_tower(tmp_path / "other.onnx", seed=10), frames))
    answer = open_network(other.groups[0], other.payload).run({given: frames[0]})[taken]
    assert not np.array_equal(answer, computed[0])
    assert not np.array_equal(computed[0], computed[1])


@pytest.mark.parametrize(("bits", "least"), [(8, 0.999), (16, 0.9999)], ids=["8 bits", "16 bits"])
def test_vectors(device: Any, small_face_models: Path, bits: int, least: float) -> None:
    file = small_face_models / EMBEDDER
    photo = Image.fromarray(read_rgb(TESTS / "test.jpg"))
    crops = [np.asarray(photo.crop((x, 40, x + 300, 340)).resize((112, 112))) for x in range(0, 600, 100)]
    content = from_onnx(ARCFACE_R50, file, crops[:3], group=group_of(ARCFACE_R50, bits=bits))
    (stream,) = read_buffer(content).groups[0].outputs
    cpu = OnnxEngine(threads=1).open(file, ARCFACE_R50)
    for crop in crops:
        raw = answers(device, content, crop)["arcface_r50/fc1"]
        (expected,) = cpu.run([crop])
        assert cosine(dequantise(raw, stream).ravel(), expected["embedding"].real().ravel()) >= least


def test_scrfd_is_as_good_as_its_rounding(device: Any, face_models: Path, photos: Path) -> None:
    """Bars of the quantised outputs of a real file: IoU at least 0.989, landmarks 0.65 % of the face, scores 0.002."""
    file = face_models / "scrfd_2.5g_bnkps.onnx"
    frame = canvas(photos / "faces_four.jpg")
    content = from_onnx(SCRFD_2_5G, file, [])
    raw = answers(device, content, frame)
    group = read_buffer(content).groups[0]
    (floats,) = OnnxEngine(threads=1).open(file, SCRFD_2_5G).run([frame])
    kinds = {2: "score", 8: "box", 20: "kps"}
    outputs = {
        f"{kinds[s.shape[2]]}_{640 // s.shape[0]}": Tensor(raw[s.name], s.quant.scale, s.quant.zero_point)
        for s in group.outputs
    }
    ours, theirs = decode(outputs, 1.0, 0.7, 50), decode(floats, 1.0, 0.7, 50)
    assert len(ours.boxes) == len(theirs.boxes) == 4
    for box, points, score in zip(ours.boxes, ours.landmarks, ours.scores, strict=True):
        other = int(np.argmin(np.abs(theirs.boxes - box).sum(axis=1)))
        width = theirs.boxes[other, 2] - theirs.boxes[other, 0]
        assert iou(box, theirs.boxes[other]) >= 0.989
        assert np.linalg.norm(points - theirs.landmarks[other], axis=1).max() <= 0.0065 * width
        assert abs(score - theirs.scores[other]) <= 0.002 + 1e-6


def iou(a: Array, b: Array) -> float:
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "file"), [(OCR_DETECTION, "det"), (OCR_RECOGNITION, "rec")], ids=["ocr det", "ocr rec"]
)
def test_ocr(device: Any, wheel_models: Path, photos: Path, network: Network, file: str) -> None:
    spec = group_of(network).inputs[0].shape
    page = Image.fromarray(read_rgb(photos / "page_portrait.jpg"))
    frame = np.ascontiguousarray(np.asarray(page.crop((100, 100, 100 + spec[1], 100 + spec[0])))[:, :, ::-1])
    onnx_file = wheel_models / f"ppocrv5_mobile_{file}.onnx"
    (raw,) = answers(device, from_onnx(network, onnx_file, []), frame).values()
    (expected,) = OnnxEngine(threads=1).open(onnx_file, network).run([frame])
    real = next(iter(expected.values())).real()
    assert raw.dtype == np.uint8
    assert np.abs(raw.reshape(real.shape) / 255 - real).max() <= 0.5 / 255 + 1e-4


# --------------------------------------------------------------------- readers


def test_our_reader_takes_the_files_for_real_ones(tmp_path: Path) -> None:
    path = tmp_path / "scrfd_2.5g.hef"
    for chip, number in (("hailo8", 1), ("hailo8l", 3)):
        path.write_bytes(faces(SCRFD_2_5G, [(10, 10)], chip=chip))
        header = hef.verify(path)
        assert (header.container, header.architecture, header.compiler) == (2, number, "3.33.0")


def test_contexts(device: Any) -> None:
    """Layers between contexts are in the file, and hidden from the host."""
    (group,) = read_buffer(tiny(contexts=3)).groups
    assert (group.contexts, len(group.inputs), len(group.outputs)) == (3, 1, 1)
    assert read_buffer(fingerprint(ARCFACE_R50)).groups[0].contexts > 1
    assert read_buffer(fingerprint(SCRFD_10G)).groups[0].contexts == 1


def test_one_pair_a_channel(device: Any, face_models: Path, photos: Path) -> None:
    """The card rounds each channel with its own pair; the runtime shows zeros, and converts to floats rightly."""
    scales = tuple(np.linspace(0.01, 0.05, 512))

    def spread(quant: Quant) -> Quant:
        return replace(quant, scale=scales[0], zero_point=128.0, scales=scales, zero_points=(128.0,) * 512)

    file = face_models / "face_embedder_112_512.onnx"
    crop = np.asarray(Image.fromarray(read_rgb(photos / "person0_a.jpg")).resize((112, 112)))
    content = from_onnx(ARCFACE_R50, file, [crop], scale=spread)
    (stream,) = read_buffer(content).groups[0].outputs
    assert stream.quant.scales == pytest.approx(scales)
    driven = Driven(device, content)
    assert [(q.qp_scale, q.qp_zp) for q in driven.infer.output().quant_infos] == [(0.0, 0.0)]
    driven.close()
    as_floats = Driven(device, content, prepare=lambda model: model.output().set_format_type(FormatType.FLOAT32))
    frame = as_floats.frame()
    frame.input().get_buffer()[:] = crop
    assert as_floats.submit([frame]).result() is None
    as_floats.close()
    raw = answers(device, content, crop)[stream.name]
    (expected,) = OnnxEngine(threads=1).open(file, STAND_IN_EMBEDDER).run([crop])
    real = expected["embedding"].real().ravel()
    np.testing.assert_allclose(frame.output().get_buffer().ravel(), dequantise(raw, stream).ravel(), rtol=1e-6)
    assert cosine(dequantise(raw, stream).ravel(), real) > 0.99 > cosine(raw.astype(float) - 128, real)


def test_a_list_calls_back_when_all_its_outputs_are_there(device: Any) -> None:
    """hailort.md §2.5-3. The frames of a burst complete together; each must be in its array before the callback."""
    driven = Driven(device, tiny(contexts=3), batch=8)
    expected = [driven.one(fill).copy() for fill in range(8)]
    frames, ended, seen = driven.frames(8), Event(), list[Array]()

    def look(completion_info: Any) -> None:
        assert completion_info.exception is None
        seen.extend(frame.output().get_buffer().copy() for frame in frames)
        ended.set()

    driven.model.run_async(frames, look)
    assert ended.wait(10)
    driven.close()
    np.testing.assert_array_equal(seen, expected)


# ---------------------------------------------------------------------- tables


def test_tables_answer_by_input(device: Any) -> None:
    group = group_of(ARCFACE_R50)
    (given,), (result,) = group.inputs, group.outputs
    entries: list[tuple[dict[str, Array], dict[str, Array]]] = [
        ({given.name: np.full((112, 112, 3), i, np.uint8)}, {result.name: np.full((1, 1, 512), 10 * i, np.uint8)})
        for i in range(3)
    ]
    content = from_table(group, entries)
    for value, expected in ((2, 20), (1, 10), (77, 0)):
        frame = np.full((112, 112, 3), value, np.uint8)
        assert set(answers(device, content, frame)[result.name].tolist()) == {expected}


def test_stored_answers_are_the_network_s(device: Any, small_face_models: Path) -> None:
    file = small_face_models / EMBEDDER
    photo = Image.fromarray(read_rgb(TESTS / "test.jpg"))
    crops = [np.array(photo.crop((0, 0, s, s)).resize((112, 112))) for s in (200, 300)]
    computed, stored = from_onnx(ARCFACE_R50, file, crops), tabulated(ARCFACE_R50, file, crops, crops)
    for crop in crops:
        expected, actual = (answers(device, content, crop)["arcface_r50/fc1"] for content in (computed, stored))
        np.testing.assert_array_equal(actual, expected)


def test_fingerprints_follow_the_input_alone(device: Any) -> None:
    frames = [np.full((112, 112, 3), i, np.uint8) for i in (1, 2, 1)]
    one, two, again = (answers(device, fingerprint(ARCFACE_R50), f)["arcface_r50/fc1"] for f in frames)
    np.testing.assert_array_equal(one, again)
    assert (one != two).mean() > 0.9


def test_a_real_file_answers_a_fingerprint(device: Any, face_models: Path) -> None:
    driven = Driven(device, (face_models / "arcface_mobilefacenet.hailo8.hef").read_bytes())
    one, two = driven.one(1).copy(), driven.one(2).copy()
    assert (one != two).mean() > 0.9
    driven.close()


def test_constant_lines(device: Any) -> None:
    content = text_areas(OCR_DETECTION, [(10, 20, 200, 50)])
    (raw,) = answers(device, content, np.zeros((544, 960, 3), np.uint8)).values()
    rows, columns = np.nonzero(raw[:, :, 0] > 128)
    assert [columns.min(), rows.min(), columns.max(), rows.max()] == [10, 20, 199, 49]


def test_constant_faces(device: Any) -> None:
    content = faces(SCRFD_10G, [(5, 5), (20, 30)])
    group = read_buffer(content).groups[0]
    raw = answers(device, content, np.zeros((640, 640, 3), np.uint8))
    scores = next(s for s in group.outputs if s.shape == (40, 40, 2))
    assert np.argwhere(dequantise(raw[scores.name], scores) > 0.7)[:, :2].tolist() == [[5, 5], [20, 30]]
    assert constant(group, {}) == constant(group, {})


# ----------------------------------------------------------------- text towers

TOKENS, WIDTH, ROWS = 6, 8, 20
TEXT = Network(
    "little_text",
    "clip",
    "textual",
    TextInput(TOKENS, WIDTH),
    ((Vector("embedding", WIDTH),), (TokenStates("tokens", TOKENS, WIDTH),)),
    onnx=(),
)


@pytest.fixture
def tower(tmp_path: Path) -> tuple[Path, dict[str, Array]]:
    """A whole tower from ids to the vector, and its weights."""
    noise = np.random.default_rng(4)
    sizes = {"table": (ROWS, WIDTH), "positions": (1, TOKENS, WIDTH), "layer": (WIDTH, WIDTH), "head": (WIDTH, WIDTH)}
    weights: dict[str, Array] = {n: noise.normal(0, 1, s).astype(np.float32) for n, s in sizes.items()}
    weights |= {"gamma": np.full(WIDTH, 1.2, np.float32), "beta": np.full(WIDTH, 0.1, np.float32)}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["embedded"]),
        helper.make_node("Add", ["embedded", "positions"], ["placed"]),
        helper.make_node("MatMul", ["placed", "layer"], ["hidden"]),
        helper.make_node("LayerNormalization", ["hidden", "gamma", "beta"], ["normed"]),
        helper.make_node("Gather", ["normed", "end"], ["row"], axis=1),
        helper.make_node("MatMul", ["row", "head"], ["vector"]),
    ]
    initial = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    initial.append(numpy_helper.from_array(np.array(TOKENS - 1), "end"))
    given = helper.make_tensor_value_info("ids", TensorProto.INT64, [1, TOKENS])
    result = helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, WIDTH])
    graph = helper.make_graph(nodes, "tower", [given], [result], initial)
    path = tmp_path / "whole.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path, weights


@pytest.mark.parametrize("positions_inside", [True, False], ids=["positions inside", "positions outside"])
@pytest.mark.parametrize("end", ["vector", "states", "states before norm"])
def test_text_towers_either_way(
    device: Any, tower: tuple[Path, dict[str, Array]], positions_inside: bool, end: End
) -> None:
    whole, weights = tower
    rows = weights["table"][[3, 1, 4, 1, 5, 9]]
    placed = rows + weights["positions"][0]
    frame = rows if positions_inside else placed
    content = text_tower(TEXT, whole, [frame], positions_inside=positions_inside, end=end)
    (group,) = read_buffer(content).groups
    (given,), (result,) = group.inputs, group.outputs
    assert (given.bits, given.shape, result.bits) == (16, (1, TOKENS, WIDTH), 16)
    raw = answers(device, content, quantise(frame, given))[result.name]
    hidden = placed @ weights["layer"]
    centred = (hidden - hidden.mean(-1, keepdims=True)) / np.sqrt(hidden.var(-1, keepdims=True) + 1e-5)
    normed = centred * weights["gamma"] + weights["beta"]
    expected = {"vector": normed[-1] @ weights["head"], "states": normed, "states before norm": hidden}[end]
    assert cosine(dequantise(raw, result).ravel(), expected.ravel()) >= 0.9999


def test_siglip_declares_its_tokens_in_a_square() -> None:
    assert group_of(SIGLIP.textual).inputs[0].shape == (8, 8, 768)
    assert group_of(SIGLIP.textual, square=False, form=1).outputs[0].shape == (1, 64, 768)
