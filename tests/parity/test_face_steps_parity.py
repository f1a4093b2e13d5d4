"""Single steps with faces: InsightFace's own on the same input. tests/unit holds them against what is meant by them."""

from pathlib import Path

import numpy as np
import parity_table as parity
import pytest
from insightface_reference import InsightFace
from pictures import read_rgb
from random_faces import landmarks, random_boxes

from ml_target.tasks.faces.align import align
from ml_target.tasks.faces.scrfd import suppress


@pytest.fixture(scope="module")
def insightface(face_models: Path) -> InsightFace:
    return InsightFace(face_models / "scrfd_2.5g_bnkps.onnx", face_models / "face_embedder_112_512.onnx")


def test_crops_equal_insightface(photos: Path, insightface: InsightFace) -> None:
    picture = read_rgb(photos / "astronaut.jpg")
    faces = np.concatenate([landmarks(20, 300, 1000), landmarks(10, 40, 2000) - 300])  # some beyond the border
    crops = align(picture, faces)
    expected = [insightface.crop(picture, face) for face in faces]
    assert all(crop.dtype == np.uint8 and crop.shape == (112, 112, 3) for crop in crops)
    difference = np.abs(np.stack(crops).astype(int) - np.stack(expected).astype(int))
    parity.record("face alignment", "crops vs InsightFace, largest difference of a pixel", int(difference.max()), "≤ 1")
    assert difference.max() <= 1


def test_suppression_equals_insightface(insightface: InsightFace) -> None:
    for seed in range(5):
        boxes = random_boxes(800, seed)
        scores = np.linspace(1, 0.1, len(boxes), dtype=np.float32)
        np.testing.assert_array_equal(suppress(boxes, 9999)[0], insightface.suppress(boxes, scores))
