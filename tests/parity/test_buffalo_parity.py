"""Immich's `buffalo_l` end to end: the same faces and vectors as InsightFace, on networks of its form.

The published weights cannot be had here. The detector has det_10g's outputs and a real network's weights; the
recogniser is w600k_r50's architecture, at a quarter of its channels, with seeded weights.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import parity_table as parity
import pytest
from face_matching import cosine, find, matches
from immich_faces import DETECTOR_FILE, RECOGNIZER_FILE, take_any_file
from immich_networks import DETECTOR_OUTPUTS, write_det_10g, write_w600k_r50
from insightface_reference import InsightFace, find_insightface
from pictures import read_rgb

from ml_target.config import Settings
from ml_target.diagnostics.workbench import Workbench
from ml_target.tasks.faces.finder import FaceFinder
from ml_target.tasks.faces.task import FACES

PHOTOS = ("faces_four.jpg", "faces_nine_rolled.jpg", "astronaut.jpg", "person0_a.jpg", "coffee.jpg")


@pytest.fixture(scope="module")
def folder(face_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("buffalo")
    write_det_10g(made / DETECTOR_FILE, face_models / "scrfd_2.5g_bnkps.onnx")
    write_w600k_r50(made / RECOGNIZER_FILE, width=0.25)
    return made


@pytest.fixture(scope="module")
def finder(folder: Path) -> Iterator[FaceFinder]:
    """As the worker loads it."""
    settings = Settings(engine="cpu", models_dir=folder, face_detector="buffalo_l", face_recognizer="buffalo_l")
    with pytest.MonkeyPatch.context() as patch:
        take_any_file(patch)
        with Workbench(settings) as bench:
            yield bench.load(FACES.offer)


@pytest.fixture(scope="module")
def insightface(folder: Path) -> InsightFace:
    return InsightFace(folder / DETECTOR_FILE, folder / RECOGNIZER_FILE)


def test_the_networks_have_the_form_of_immich_s_files(folder: Path) -> None:
    import onnx

    detector, recogniser = (onnx.load(str(folder / name)).graph for name in (DETECTOR_FILE, RECOGNIZER_FILE))
    assert tuple(output.name for output in detector.output) == DETECTOR_OUTPUTS
    assert [given.name for given in (*detector.input, *recogniser.input)] == ["input.1", "input.1"]
    (vector,) = recogniser.output
    assert [each.dim_value for each in vector.type.tensor_type.shape.dim] == [0, 512]
    assert sum(node.op_type == "Add" for node in recogniser.node) == 24, "blocks of an IResNet-50"


def test_faces_and_vectors_equal_insightface(finder: FaceFinder, insightface: InsightFace, photos: Path) -> None:
    ours = theirs = 0
    overlap: list[float] = []
    score: list[float] = []
    sides: list[float] = []
    points: list[float] = []
    likeness: list[float] = []
    vectors = []
    for path in (*(photos / name for name in PHOTOS), find_insightface() / "data" / "images" / "t1.jpg"):
        picture = read_rgb(path)
        faces, reference = find(finder, picture, 0.7), insightface.find(picture, 0.7)
        ours, theirs = ours + len(faces), theirs + len(reference.boxes)
        for face, other, iou in matches(faces, reference):
            overlap.append(iou)
            score.append(abs(face.score - float(reference.scores[other])))
            sides.append(float(np.abs(np.array(face.box) - reference.boxes[other]).max()))
            points.append(float(np.abs(face.landmarks - reference.landmarks[other]).max()))
            vector = insightface.describe(insightface.crop(picture, reference.landmarks[other]))
            likeness.append(cosine(face.embedding, vector))
            vectors.append(vector / np.linalg.norm(vector))
    subject = f"buffalo_l's form, score ≥ 0.7, {len(PHOTOS) + 1} photos, {theirs} faces"
    figures = [
        ("faces found", ours, "as many", ours == theirs == len(overlap)),
        ("IoU, mean", float(np.mean(overlap)), "≥ 0.98", np.mean(overlap) >= 0.98),
        ("box difference, largest, px", max(sides), "≤ 0.5", max(sides) <= 0.5),
        ("score difference, largest", max(score), "≤ 1e-4", max(score) <= 1e-4),
        ("landmark difference, largest, px", max(points), "≤ 0.5", max(points) <= 0.5),
        ("embedding cosine, least", min(likeness), "≥ 0.999", min(likeness) >= 0.999),
    ]
    for measure, value, bound, _ in figures:
        parity.record(subject, measure, value, bound)
    assert theirs > 15, "the photos hold faces"
    assert not [figure for figure in figures if not figure[-1]]
    others = np.stack(vectors) @ np.stack(vectors).T - 2 * np.eye(len(vectors))
    assert others.max() < 0.999, "the network tells crops apart, so equal vectors mean something"
