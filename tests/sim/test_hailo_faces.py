"""Faces on the simulated card: those of the CPU engine and of InsightFace, as near as bytes allow.

The simulator rounds what enters and leaves a network; the layers inside compute with floats.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import parity_table as parity
import pytest
from face_matching import cosine, find, matches
from insightface_reference import Found, InsightFace, find_insightface
from pictures import read_rgb
from simulated_card import DETECTOR, EMBEDDER, open_card, write_face_files

from ml_target.catalogue.networks import ARCFACE_R50, EMBEDDING, SCRFD_2_5G, STAND_IN_EMBEDDER
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.tasks.faces.align import align
from ml_target.tasks.faces.finder import Face, FaceFinder
from ml_target.tensors import UInt8

pytestmark = pytest.mark.slow  # real networks over real photos

LEAST_SCORE = 0.2
SURE = 0.05
"""A face may cross the score that is asked for by this much; nearer to it, either answer is right."""


@dataclass(frozen=True)
class Bench:
    """The same photos on the card, on the CPU engine and in InsightFace's hands."""

    card: FaceFinder
    cpu: FaceFinder
    embedders: tuple[Model, Model]
    insightface: InsightFace
    pictures: dict[str, UInt8]

    @cached_property
    def found(self) -> dict[str, list[Face]]:
        """On the card."""
        return {name: find(self.card, picture, LEAST_SCORE) for name, picture in self.pictures.items()}

    @cached_property
    def cpu_found(self) -> dict[str, list[Face]]:
        return {name: find(self.cpu, picture, LEAST_SCORE) for name, picture in self.pictures.items()}

    @cached_property
    def insightface_found(self) -> dict[str, list[Face]]:
        """Without vectors."""
        return {name: faces_of(self.insightface.find(p, LEAST_SCORE)) for name, p in self.pictures.items()}


@pytest.fixture(scope="module")
def bench(face_models: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    insightface = InsightFace(face_models / DETECTOR, face_models / EMBEDDER)
    files = [*sorted(photos.glob("*.jpg")), find_insightface() / "data" / "images" / "t1.jpg"]
    folder = tmp_path_factory.mktemp("card")
    write_face_files(folder, face_models, photos)
    pool, engine = Arbiter(1), OnnxEngine(threads=2)

    def cpu(network: Any, file: str) -> Model:
        return Model(
            network, pool.queue(engine.open(face_models / file, network), network.name), Provenance(file, "", "cpu")
        )

    with open_card() as card:
        models = [card.model(folder, network) for network in (SCRFD_2_5G, ARCFACE_R50)]
        floats = [cpu(SCRFD_2_5G, DETECTOR), cpu(STAND_IN_EMBEDDER, EMBEDDER)]
        yield Bench(
            FaceFinder(models[0], models[1], card.host, 500),
            FaceFinder(floats[0], floats[1], card.host, 500),
            (models[1], floats[1]),
            insightface,
            {file.name: read_rgb(file) for file in files},
        )
        pool.close()
        assert not card.rig.record.crashes


def as_found(faces: Sequence[Face]) -> Found:
    return Found(
        np.array([face.box for face in faces], np.float32).reshape(-1, 4),
        np.array([face.score for face in faces], np.float32),
        np.array([face.landmarks for face in faces], np.float32).reshape(-1, 5, 2),
    )


def faces_of(found: Found) -> list[Face]:
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.landmarks, strict=True)
    return [Face(tuple(box), score, points, np.empty(0, np.float32)) for box, score, points in rows]


def wide(face: Face) -> bool:
    return min(face.box[2] - face.box[0], face.box[3] - face.box[1]) >= 32


def at_least(faces: Sequence[Face], score: float) -> list[Face]:
    return [face for face in faces if face.score >= score]


def share_met(faces: Sequence[Sequence[Face]], others: Sequence[Sequence[Face]], score: float) -> float:
    """Of those in `faces` that are sure to score `score`, how many are among `others`."""
    sure = [[f for f in at_least(each, score + SURE) if wide(f)] for each in faces]
    met = [len(matches(a, as_found(at_least(b, score)))) for a, b in zip(sure, others, strict=True)]
    return sum(met) / sum(map(len, sure))


@pytest.mark.parametrize("score", [0.7, 0.4, 0.2])
def test_the_same_faces(bench: Bench, score: float) -> None:
    ours, cpu = list(bench.found.values()), list(bench.cpu_found.values())
    reference = list(bench.insightface_found.values())
    total = sum(len(at_least(faces, score)) for faces in reference)
    subject = f"faces on the simulated Hailo, score ≥ {score}, {total} faces"
    assert total > 15
    for name, theirs in (("InsightFace", reference), ("the CPU engine", cpu)):
        recall, precision = share_met(theirs, ours, score), share_met(ours, theirs, score)
        parity.record(subject, f"recall, precision against {name}", f"{recall:g}, {precision:g}", "≥ 0.98")
        assert recall >= 0.98
        assert precision >= 0.98


def test_boxes_landmarks_scores_and_vectors(bench: Bench) -> None:
    overlap, score, points, likeness = [], [], [], []
    for name, faces in bench.found.items():
        theirs = at_least(bench.cpu_found[name], 0.7)
        for face, other, iou in matches(at_least(faces, 0.65), as_found(theirs)):
            overlap.append(iou)
            score.append(abs(face.score - theirs[other].score))
            width = theirs[other].box[2] - theirs[other].box[0]
            points.append(np.linalg.norm(face.landmarks - theirs[other].landmarks, axis=1).mean() / width)
            likeness.append(cosine(face.embedding, theirs[other].embedding))
    figures = [
        ("IoU, mean", float(np.mean(overlap)), "≥ 0.99", np.mean(overlap) >= 0.99),
        ("IoU, 5th percentile", float(np.percentile(overlap, 5)), "≥ 0.97", np.percentile(overlap, 5) >= 0.97),
        ("IoU, least", min(overlap), "≥ 0.95", min(overlap) >= 0.95),
        ("landmarks, mean, of the face's width", float(np.mean(points)), "≤ 0.65 %", np.mean(points) <= 0.0065),
        ("landmarks, largest mean of a face", float(max(points)), "≤ 2.5 %", max(points) <= 0.025),
        ("score difference, largest", max(score), "≤ 0.003", max(score) <= 0.003),
        ("end to end cosine, mean", float(np.mean(likeness)), "≥ 0.995", np.mean(likeness) >= 0.995),
        ("end to end cosine, least", min(likeness), "≥ 0.98", min(likeness) >= 0.98),
    ]
    subject = f"SCRFD + embedder on the simulated Hailo against the CPU engine, {len(overlap)} faces"
    for measure, value, bound, _ in figures:
        parity.record(subject, measure, value, bound)
    assert len(overlap) > 15
    assert not [figure for figure in figures if not figure[-1]]


def test_vectors_of_the_same_crop(bench: Bench) -> None:
    crops = [
        crop
        for name, faces in bench.cpu_found.items()
        if (sure := at_least(faces, 0.7))
        for crop in align(bench.pictures[name], np.array([face.landmarks for face in sure]), 112)
    ]
    card, cpu = ([model.loaded.run([crop])[0][EMBEDDING].real().ravel() for crop in crops] for model in bench.embedders)
    alike = [cosine(a, b) for a, b in zip(card, cpu, strict=True)]
    subject = f"embedder on the simulated Hailo, 8 bit, same crop, {len(crops)} faces"
    parity.record(subject, "cosine, least", min(alike), "≥ 0.999")
    assert len(alike) > 15
    assert min(alike) >= 0.999


def test_the_same_verdict_about_every_pair(bench: Bench) -> None:
    """Same person or not, at Immich's distance of 0.5, for every two faces of all photos."""
    verdicts = []
    ours, theirs = [], []
    for name, faces in bench.found.items():
        reference = at_least(bench.cpu_found[name], 0.7)
        for face, other, _ in matches(at_least(faces, 0.65), as_found(reference)):
            ours.append(face.embedding)
            theirs.append(reference[other].embedding)
    for a, b in combinations(range(len(ours)), 2):
        verdicts.append((cosine(ours[a], ours[b]) >= 0.5) == (cosine(theirs[a], theirs[b]) >= 0.5))
    equal = float(np.mean(verdicts))
    parity.record("embedder on the simulated Hailo", f"same verdict at 0.5, {len(verdicts)} pairs", equal, "≥ 0.99")
    assert equal >= 0.99


def test_the_manifest_agrees(bench: Bench, manifest: dict[str, Any]) -> None:
    """As many faces as people were put into each picture, and none where there are none."""
    for name, entry in manifest.items():
        people = len(entry.get("identities", ())) or int("one real face" in entry.get("note", ""))
        assert len(at_least(bench.found[name], 0.7)) == people, name


def test_the_same_person_is_nearer_than_others(bench: Bench) -> None:
    embeddings = {n: at_least(f, 0.7)[0].embedding for n, f in bench.found.items() if n.startswith("person")}
    same: list[float] = []
    other: list[float] = []
    for (one, a), (two, b) in combinations(embeddings.items(), 2):
        (same if one.split("_")[0] == two.split("_")[0] else other).append(1 - cosine(a, b))
    subject = f"identities (stand-in) on the simulated Hailo, {len(same)} same and {len(other)} other pairs"
    parity.record(subject, "cosine distance, same person, largest", max(same), "< 0.5")
    parity.record(subject, "cosine distance, other person, least", min(other), "> 3 x same")
    assert len(same) == 6
    assert max(same) < 0.5
    assert 3 * max(same) < min(other)
