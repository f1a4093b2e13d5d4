"""Faces end to end on real photos: the same faces and vectors as InsightFace with the same networks."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import parity_table as parity
import pytest
from face_matching import cosine, find, matches
from insightface_reference import Found, InsightFace, find_insightface
from pictures import read_rgb
from remembered import Remembered

from ml_target.catalogue.networks import SCRFD_2_5G, STAND_IN_EMBEDDER
from ml_target.catalogue.types import Network
from ml_target.engines import LoadedNetwork
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.faces.finder import FaceFinder
from ml_target.tensors import Array, Outputs, Tensor, UInt8

DETECTOR, RECOGNIZER = "scrfd_2.5g_bnkps.onnx", "face_embedder_112_512.onnx"
MIN_SCORES = (0.7, 0.4, 0.2)
# Scale and zero point of each output of a real scrfd_2.5g HEF.
HEF_STEPS = {
    **{f"score_{stride}": (1 / 255, 0) for stride in (8, 16, 32)},
    "box_8": (0.019849, 4),
    "box_16": (0.031789, 0),
    "box_32": (0.029926, 1),
    "kps_8": (0.026140, 121),
    "kps_16": (0.036931, 115),
    "kps_32": (0.036006, 112),
}


class EightBits:
    """A detector whose outputs leave it as a HEF's do: bytes with a scale and a zero point."""

    def __init__(self, loaded: LoadedNetwork) -> None:
        self._loaded = loaded
        self.intake, self.max_batch, self.roles = loaded.intake, loaded.max_batch, loaded.roles

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        return [{role: as_bytes(role, t) for role, t in frame.items()} for frame in self._loaded.run(frames)]

    def close(self) -> None:
        self._loaded.close()


def as_bytes(role: str, tensor: Tensor) -> Tensor:
    scale, zero = HEF_STEPS[role]
    return Tensor(np.clip(np.round(tensor.values / scale + zero), 0, 255).astype(np.uint8), scale, zero)


@pytest.fixture(scope="module")
def detector(face_models: Path) -> LoadedNetwork:
    """The least score is asked of what it answers: one answer a picture does for all of them."""
    return Remembered(OnnxEngine(threads=2).open(face_models / DETECTOR, SCRFD_2_5G))


@pytest.fixture(scope="module")
def build(face_models: Path) -> Iterator[Callable[[LoadedNetwork], FaceFinder]]:
    """Makes the faces task on the CPU engine from an opened detector."""
    host, pool = ThreadPool(2), Arbiter(1)
    recognizer = Remembered(OnnxEngine(threads=2).open(face_models / RECOGNIZER, STAND_IN_EMBEDDER))

    def model(network: Network, loaded: LoadedNetwork) -> Model:
        return Model(network, pool.queue(loaded, network.name), Provenance(network.name, "", "cpu"))

    yield lambda detector: FaceFinder(model(SCRFD_2_5G, detector), model(STAND_IN_EMBEDDER, recognizer), host, 500)
    host.close()
    pool.close()


@pytest.fixture(scope="module")
def finder(build: Callable[[LoadedNetwork], FaceFinder], detector: LoadedNetwork) -> FaceFinder:
    return build(detector)


@pytest.fixture(scope="module")
def insightface(face_models: Path) -> InsightFace:
    return InsightFace(face_models / DETECTOR, face_models / RECOGNIZER, remembers=True)


@pytest.fixture(scope="module")
def pictures(photos: Path) -> dict[str, UInt8]:
    """Every photo, and the group picture that InsightFace brings along."""
    files = [*sorted(photos.glob("*.jpg")), find_insightface() / "data" / "images" / "t1.jpg"]
    return {file.name: read_rgb(file) for file in files}


@pytest.mark.parametrize("min_score", MIN_SCORES)
def test_faces_equal_insightface(
    finder: FaceFinder, insightface: InsightFace, pictures: dict[str, UInt8], min_score: float
) -> None:
    ours = theirs = 0
    overlap: list[float] = []
    score: list[float] = []
    sides: list[float] = []
    points: list[float] = []
    likeness: list[float] = []
    for picture in pictures.values():
        faces, reference = find(finder, picture, min_score), insightface.find(picture, min_score)
        ours, theirs = ours + len(faces), theirs + len(reference.boxes)
        assert [face.score for face in faces] == sorted((face.score for face in faces), reverse=True)
        for face, other, iou in matches(faces, reference):
            overlap.append(iou)
            score.append(abs(face.score - float(reference.scores[other])))
            sides.append(float(np.abs(np.array(face.box) - reference.boxes[other]).max()))
            points.append(float(np.abs(face.landmarks - reference.landmarks[other]).max()))
            vector = insightface.describe(insightface.crop(picture, reference.landmarks[other]))
            likeness.append(cosine(face.embedding, vector))
    assert theirs > 15, "the photos hold faces"
    subject = f"faces, score ≥ {min_score}, {len(pictures)} photos, {theirs} faces"
    figures = [
        ("recall", len(overlap) / theirs, "≥ 0.99", len(overlap) / theirs >= 0.99),
        ("precision", len(overlap) / ours, "≥ 0.99", len(overlap) / ours >= 0.99),
        ("IoU, mean", float(np.mean(overlap)), "≥ 0.98", np.mean(overlap) >= 0.98),
        ("box difference, largest, px", max(sides), "≤ 0.5", max(sides) <= 0.5),
        ("score difference, largest", max(score), "≤ 1e-4", max(score) <= 1e-4),
        ("landmark difference, largest, px", max(points), "≤ 0.5", max(points) <= 0.5),
        ("embedding cosine, least", min(likeness), "≥ 0.999", min(likeness) >= 0.999),
    ]
    for measure, value, bound, _ in figures:
        parity.record(subject, measure, value, bound)
    assert not [figure for figure in figures if not figure[-1]]


def test_bytes_from_the_detector_give_the_same_faces(
    build: Callable[[LoadedNetwork], FaceFinder],
    finder: FaceFinder,
    detector: LoadedNetwork,
    pictures: dict[str, UInt8],
) -> None:
    """What rounding the outputs to 8 bits costs, alone: the part of a HEF's error that decoding sees."""
    coarse = build(EightBits(detector))
    count = {"float": 0, "8 bit": 0}
    overlap: list[float] = []
    score: list[float] = []
    likeness: list[float] = []
    for name in ("t1.jpg", "faces_four.jpg", "faces_nine_rolled.jpg", "astronaut.jpg", "person0_a.jpg", "coffee.jpg"):
        faces, reference = find(coarse, pictures[name], 0.7), find(finder, pictures[name], 0.7)
        count["8 bit"], count["float"] = count["8 bit"] + len(faces), count["float"] + len(reference)
        boxes = np.array([face.box for face in reference], np.float32).reshape(-1, 4)
        found = Found(boxes, np.empty(0, np.float32), np.empty(0, np.float32))
        for face, other, iou in matches(faces, found):
            overlap.append(iou)
            score.append(abs(face.score - reference[other].score))
            likeness.append(cosine(face.embedding, reference[other].embedding))
    subject = f"8-bit detector outputs, {count['float']} faces"
    parity.record(subject, "faces found at 0.7", count["8 bit"], "as many")
    parity.record(subject, "IoU, mean", float(np.mean(overlap)), "≥ 0.98")
    parity.record(subject, "score difference, largest", max(score), "≤ 0.005")
    parity.record(subject, "embedding cosine, least", min(likeness), "≥ 0.98")
    assert count["8 bit"] == count["float"] == len(overlap)
    assert np.mean(overlap) >= 0.98
    assert max(score) <= 0.005
    assert min(likeness) >= 0.98


def test_the_manifest_agrees(finder: FaceFinder, pictures: dict[str, UInt8], manifest: dict[str, Any]) -> None:
    """As many faces as people were put into each picture, and none where there are none."""
    for name, entry in manifest.items():
        people = len(entry.get("identities", ())) or int("one real face" in entry.get("note", ""))
        assert len(find(finder, pictures[name], 0.7)) == people, name


def test_the_same_person_is_nearer_than_others(
    finder: FaceFinder, insightface: InsightFace, pictures: dict[str, UInt8]
) -> None:
    """Within Immich's default distance of 0.5, and far nearer than anybody else.

    That others are beyond 0.5 is for the real recognisers to show: for the stand-in, some of these
    made-up people are nearer, in InsightFace's hands as in ours.
    """
    names = [name for name in pictures if name.startswith("person")]
    ours, theirs = {}, {}
    for name in names:
        [face], reference = find(finder, pictures[name], 0.7), insightface.find(pictures[name], 0.7)
        ours[name] = face.embedding
        theirs[name] = insightface.describe(insightface.crop(pictures[name], reference.landmarks[0]))
    same: list[float] = []
    other: list[float] = []
    shift: list[float] = []
    for a, b in combinations(names, 2):
        distance = 1 - cosine(ours[a], ours[b])
        shift.append(abs(distance - (1 - cosine(theirs[a], theirs[b]))))
        (same if a.split("_")[0] == b.split("_")[0] else other).append(distance)
    subject = f"identities (stand-in), {len(same)} same and {len(other)} other pairs"
    parity.record(subject, "cosine distance, same person, largest", max(same), "< 0.5")
    parity.record(subject, "cosine distance, other person, least", min(other), "> 3 x same")
    parity.record(subject, "cosine distance, difference to InsightFace's", max(shift), "≤ 0.002")
    assert len(same) == 6
    assert max(same) < 0.5
    assert 3 * max(same) < min(other)
    assert max(shift) <= 0.002


def test_canonical_result(finder: FaceFinder, photos: Path) -> None:
    """scrfd_2.5g on one photo, as it was when it equalled InsightFace."""
    faces = find(finder, read_rgb(photos / "faces_four.jpg"), 0.7)
    expected = [
        (144.2, 491.6, 355.0, 746.3),
        (600.4, 480.6, 802.2, 766.4),
        (1538.0, 488.5, 1738.7, 765.7),
        (1081.6, 463.8, 1300.6, 788.8),
    ]
    np.testing.assert_allclose([face.box for face in faces], expected, atol=0.1)
    np.testing.assert_allclose([face.score for face in faces], [0.8712, 0.8711, 0.8624, 0.7967], atol=1e-3)
