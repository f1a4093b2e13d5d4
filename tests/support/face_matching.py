"""Finding faces at once, and pairing them with a reference's."""

import asyncio

import numpy as np
from insightface_reference import Found

from ml_target.log.trace import Trace
from ml_target.tasks.faces.finder import Face, FaceFinder
from ml_target.tensors import Array, Float32, UInt8


def find(finder: FaceFinder, picture: UInt8, min_score: float) -> list[Face]:
    """The faces of one picture, and nothing else to do meanwhile."""
    return asyncio.run(finder.find(picture, min_score, Trace()))


def overlaps(a: Array, b: Array) -> Float32:
    """Intersection over union of every box of `a` with every box of `b`."""
    corner = np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.clip(np.minimum(a[:, None, 2:], b[None, :, 2:]) - corner, 0, None).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) for boxes in (a, b)]
    ratio: Float32 = shared / (areas[0][:, None] + areas[1] - shared)
    return ratio


def matches(faces: list[Face], reference: Found) -> list[tuple[Face, int, float]]:
    """Face, index of the reference's face, their IoU: pairs above 0.5, one to one."""
    if not faces or not len(reference.boxes):
        return []
    table = overlaps(np.array([face.box for face in faces]), reference.boxes)
    pairs = []
    for row, face in enumerate(faces):
        column = int(table[row].argmax())
        if table[row, column] >= 0.5:
            pairs.append((face, column, float(table[row, column])))
            table[:, column] = 0
    return pairs


def cosine(a: Float32, b: Float32) -> float:
    """How alike two vectors are, -1 to 1."""
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
