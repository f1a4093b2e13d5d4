"""A scale for each channel (OUTPUT_SCALE_PER_FEATURE): decoded as the same network is with one pair for all."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import constant, from_onnx
from hailo_sim.contracts import group_of
from hailo_sim.hef_file import Group, Quant
from hailo_sim.networks import quantise
from pictures import read_rgb
from simulated_card import DETECTOR

from ml_target.catalogue.networks import ARCFACE_R50, OCR_DETECTION, OCR_RECOGNITION, SCRFD_2_5G, TINYCLIP
from ml_target.catalogue.types import Network, PictureInput
from ml_target.engines.hailo import engine as hailo
from ml_target.engines.hailo.card import CardSettings
from ml_target.engines.hailo.engine import HailoEngine
from ml_target.engines.hailo.fit import check_fit
from ml_target.tasks.faces.letterbox import letterbox
from ml_target.tasks.faces.scrfd import Detections, decode
from ml_target.tasks.ocr.ctc import read_glyphs
from ml_target.tasks.ocr.dbnet import find_boxes
from ml_target.tensors import Array, Float32, Outputs

Both = Callable[[Network, dict[str, Float32]], list[Outputs]]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[HailoEngine]:
    monkeypatch.setattr(hailo, "host_checks", lambda **_: [])
    with simulated(Rig(clock="virtual")):
        made = HailoEngine(CardSettings())
        made.start()
        yield made
        made.close()


def varied(group: Group) -> Group:
    """The group with pairs that reach as far as its own do, another for each channel; the single one means nothing."""
    return replace(group, outputs=tuple(replace(s, quant=_each(s.quant, s.shape[2])) for s in group.outputs))


def _each(quant: Quant, channels: int) -> Quant:
    coarser = np.random.default_rng(channels).uniform(1, 2, channels)
    scales, zeros = quant.scale * coarser, np.rint(quant.zero_point / coarser)
    return replace(quant, scale=0.0, zero_point=0.0, scales=tuple(scales), zero_points=tuple(zeros))


@pytest.fixture
def both(engine: HailoEngine, tmp_path: Path) -> Both:
    """What the engine hands out for these real numbers: from a file with one pair, and from one with many."""

    def answers(network: Network, real: dict[str, Float32]) -> list[Outputs]:
        found: list[Outputs] = []
        for group in (group_of(network), varied(group_of(network))):
            path = tmp_path / f"{network.name}_{len(found)}.hef"
            path.write_bytes(constant(group, {s.name: quantise(real[s.name], s) for s in group.outputs}))
            engine.check(path, network)
            loaded = engine.open(path, network)
            spec = network.input
            assert isinstance(spec, PictureInput)
            (outputs,) = loaded.run([np.zeros((spec.height, spec.width, 3), np.uint8)])
            found.append(outputs)
        return found

    return answers


def test_vectors(both: Both) -> None:
    for network in (ARCFACE_R50, TINYCLIP.visual):
        (stream,) = group_of(network).outputs
        real = np.random.default_rng(1).uniform(stream.quant.low, stream.quant.high, stream.shape).astype(np.float32)
        one, each = (outputs["embedding"] for outputs in both(network, {stream.name: real}))
        assert each.values.dtype == np.float32, "integers of two channels cannot be compared"
        assert (each.scale, each.zero_point) == (1.0, 0.0)
        np.testing.assert_allclose(each.real(), real.ravel(), atol=stream.quant.scale * 3)
        cosine = float(one.real() @ each.real() / np.linalg.norm(one.real()) / np.linalg.norm(each.real()))
        assert cosine > 0.9995


def test_letters(both: Both) -> None:
    """The winner by integers would be another: a channel of a fine scale has larger ones for less."""
    (stream,) = group_of(OCR_RECOGNITION).outputs
    random = np.random.default_rng(2)
    real = np.zeros((40, stream.shape[2]), np.float32)
    winners, seconds = random.integers(0, stream.shape[2], (2, 40))
    real[np.arange(40), seconds], real[np.arange(40), winners] = 0.35, 0.5
    one, each = (outputs["classes"] for outputs in both(OCR_RECOGNITION, {stream.name: real.reshape(stream.shape)}))
    here, there = read_glyphs(one, 8), read_glyphs(each, 8)
    assert here.classes.tolist() == there.classes.tolist() == [winner for winner in winners if winner]
    np.testing.assert_allclose(here.probabilities, there.probabilities, atol=2 / 255)
    raw = quantise(real.reshape(stream.shape), varied(group_of(OCR_RECOGNITION)).outputs[0])
    assert (raw.reshape(40, -1).argmax(axis=1) != winners).any(), "or the test would prove nothing"


def test_areas(both: Both) -> None:
    """One channel, so one pair: nothing changes."""
    (stream,) = group_of(OCR_DETECTION).outputs
    real = np.zeros(stream.shape, np.float32)
    real[100:130, 200:500] = real[300:330, 100:700] = 0.9
    one, each = (outputs["probability"] for outputs in both(OCR_DETECTION, {stream.name: real}))
    assert each.values.dtype == np.uint8
    here, there = (find_boxes(tensor, (544, 960), 0.5, 100) for tensor in (one, each))
    np.testing.assert_allclose(here.corners, there.corners)


def test_faces_of_a_real_network(engine: HailoEngine, face_models: Path, photos: Path, tmp_path: Path) -> None:
    """Scores are compared with a threshold, boxes and points are scaled: all by their own channel's pair."""
    picture = read_rgb(photos / "faces_four.jpg")
    frame, scale = letterbox(picture, 640, 640)
    decoded: list[Detections] = []
    for group in (group_of(SCRFD_2_5G), varied(group_of(SCRFD_2_5G))):
        path = tmp_path / f"scrfd_{len(decoded)}.hef"
        path.write_bytes(from_onnx(SCRFD_2_5G, face_models / DETECTOR, [], group=group))
        fit = check_fit(path, SCRFD_2_5G)
        assert fit.warnings == ()
        assert [s.scaled_per_channel for s in fit.group.outputs] == [len(decoded) == 1] * 9
        (outputs,) = engine.open(path, SCRFD_2_5G).run([frame])
        decoded.append(decode(outputs, scale, 0.5, 500))
    one, each = decoded
    assert len(one.scores) == len(each.scores) >= 4
    np.testing.assert_allclose(one.scores, each.scores, atol=3 / 255)
    np.testing.assert_allclose(one.boxes, each.boxes, atol=4)
    np.testing.assert_allclose(one.landmarks, each.landmarks, atol=4)


def test_memory_goes_round_all_the_same(engine: HailoEngine, tmp_path: Path) -> None:
    """The integers were copied: their array is free as soon as the answer is made."""
    group = varied(group_of(ARCFACE_R50))
    path = tmp_path / "arcface_r50.hef"
    path.write_bytes(constant(group, {}))
    loaded = engine.open(path, ARCFACE_R50)
    frames: list[Array] = [np.zeros((112, 112, 3), np.uint8)] * 4
    kept = [loaded.run(frames) for _ in range(3)]
    assert len({id(outputs["embedding"].values) for burst in kept for outputs in burst}) == 12
    assert all(np.array_equal(o["embedding"].values, kept[0][0]["embedding"].values) for burst in kept for o in burst)
