"""ONNX Runtime's engine on real networks for faces; what it makes of small graphs is in tests/unit."""

from pathlib import Path

import numpy as np
import pytest

from ml_target.catalogue.networks import SCRFD_2_5G, STAND_IN_EMBEDDER
from ml_target.engines.onnx import denormals
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.errors import ModelError


def test_the_real_face_networks(face_models: Path) -> None:
    engine = OnnxEngine(threads=1)
    detector = engine.open(face_models / "scrfd_2.5g_bnkps.onnx", SCRFD_2_5G)
    assert detector.max_batch == 1
    assert {role: shape[-1] for role, shape in detector.roles.items() if role.endswith("_8")} == {
        "score_8": 2,
        "box_8": 8,
        "kps_8": 20,
    }
    embedder = engine.open(face_models / "face_embedder_112_512.onnx", STAND_IN_EMBEDDER)
    assert embedder.roles == {"embedding": (512,)}
    with pytest.raises(ModelError, match=r"does not fit scrfd_2.5g"):
        engine.open(face_models / "face_embedder_112_512.onnx", SCRFD_2_5G)


def test_answers_are_the_same_to_the_bit_with_and_without_denormals(
    monkeypatch: pytest.MonkeyPatch, face_models: Path
) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (3, 112, 112, 3), np.uint8)
    plain = OnnxEngine(threads=1)
    network = plain.open(face_models / "face_embedder_112_512.onnx", STAND_IN_EMBEDDER)
    flushing = [network.run([frame])[0]["embedding"].real() for frame in frames]
    monkeypatch.setattr(denormals, "_library", lambda: None)
    for frame, expected in zip(frames, flushing, strict=True):
        np.testing.assert_array_equal(network.run([frame])[0]["embedding"].real(), expected)
