"""How alike the faces are that two sides have found in the same pictures: boxes, landmarks, vectors. Pure maths."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ml_target.catalogue.immich import PERSON_DISTANCE
from ml_target.diagnostics.checks.measures import match
from ml_target.diagnostics.checks.samples import FACE_BOXES
from ml_target.tasks.clip.encoders import unit
from ml_target.tasks.faces.finder import Face
from ml_target.tensors import Float32

ASKED, SURE = 0.7, 0.75
"""Faces are looked for at the first score, Immich's own; those above the second must not be missed."""

WIDE = 32
"""Pixels: smaller faces are not counted."""

SAME_FACE_IOU = 0.5

Found = list[list[Face]]
"""The faces of each picture."""

Pairs = list[tuple[Face, Face, float]]


def at_least(faces: Sequence[Face], score: float) -> list[Face]:
    return [face for face in faces if face.score >= score]


def pairs(ours: Sequence[Face], theirs: Sequence[Face]) -> Pairs:
    """Pairs of the same face on both sides, with their IoU."""
    found = match([face.box for face in ours], [face.box for face in theirs], SAME_FACE_IOU)
    return [(ours[i], theirs[j], overlap) for i, j, overlap in found]


def compare_boxes(ours: Found, theirs: Found) -> dict[str, float]:
    """Recall and precision at the asked score, and how far apart the faces are that both sides found."""
    met = [
        (ours_here, theirs_here, points, abs(ours_here.score - theirs_here.score), overlap)
        for mine, other in zip(ours, theirs, strict=True)
        for ours_here, theirs_here, overlap in pairs(mine, at_least(other, ASKED))
        for points in [_landmark_errors(ours_here, theirs_here)]
    ]
    values = {"recall": _share_met(theirs, ours), "precision": _share_met(ours, theirs)}
    if not met:
        return values
    landmarks = np.concatenate([points for _, _, points, _, _ in met])
    overlaps = [overlap for *_, overlap in met]
    return values | {
        "iou_mean": float(np.mean(overlaps)),
        "iou_p5": float(np.percentile(overlaps, 5)),
        "landmarks_mean": float(landmarks.mean()),
        "landmarks_p95": float(np.percentile(landmarks, 95)),
        "scores": max(score for _, _, _, score, _ in met),
    }


def _landmark_errors(face: Face, other: Face) -> Float32:
    """The error of each landmark, as a share of the face's width."""
    distances: Float32 = np.linalg.norm(face.landmarks - other.landmarks, axis=1)
    return distances / (other.box[2] - other.box[0])


def _share_met(faces: Found, others: Found) -> float:
    """Share of the faces above SURE that the other side found above ASKED."""
    sure = [[f for f in at_least(each, SURE) if f.box[2] - f.box[0] >= WIDE] for each in faces]
    met = sum(len(pairs(mine, at_least(other, ASKED))) for mine, other in zip(sure, others, strict=True))
    total = sum(map(len, sure))
    return met / total if total else 0.0


def compare_vectors(ours: Found, theirs: Found) -> dict[str, float]:
    """Cosines of the same faces, and whether both sides judge the same pairs to be one person."""
    met = [(face, other) for a, b in zip(ours, theirs, strict=True) for face, other, _ in pairs(a, at_least(b, ASKED))]
    if not met:
        return {"cosine_mean": 0.0}
    mine, other = (np.stack([_unit(pair[side]) for pair in met]) for side in (0, 1))
    alike = (mine * other).sum(axis=1)
    values = {"cosine_mean": float(alike.mean()), "cosine_p5": float(np.percentile(alike, 5))}
    if len(met) > 1:
        upper = np.triu_indices(len(met), 1)
        same = [(side @ side.T)[upper] >= 1 - PERSON_DISTANCE for side in (mine, other)]
        values["same_verdicts"] = float((same[0] == same[1]).mean())
    return values


def in_order(boards: Found) -> list[tuple[int, Float32]]:
    """Which of the four each face is, with its vector; empty where faces are missing.

    The second board is mirrored, so its faces are in reverse order.
    """
    persons: list[tuple[int, Float32]] = []
    for number, faces in enumerate(boards):
        found = sorted(at_least(faces, ASKED), key=lambda face: face.box[0], reverse=number == 1)
        if len(found) != len(FACE_BOXES):
            return []
        persons += [(who, _unit(face)) for who, face in enumerate(found)]
    return persons


def told_apart(persons: Sequence[tuple[int, Float32]]) -> float:
    """How much closer every face is to the same person in another light than to any other person."""
    likeness = [(a == b, float(x @ y)) for (a, x), (b, y) in combinations(persons, 2)]
    return min(value for same, value in likeness if same) - max(value for same, value in likeness if not same)


def _unit(face: Face) -> Float32:
    return unit(face.embedding, "the face recogniser")
