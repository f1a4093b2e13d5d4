"""How alike two answers are: boxes, masks, texts, neighbours. Pure maths."""

from collections.abc import Sequence

import numpy as np

from ml_target.tensors import Array, Float32

NEAREST = 10

Box = Sequence[float] | Float32
"""x1, y1, x2, y2."""


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    wide, high = (min(a[n + 2], b[n + 2]) - max(a[n], b[n]) for n in (0, 1))
    shared = max(0.0, float(wide)) * max(0.0, float(high))
    both = float(sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)))
    return shared / (both - shared) if both > shared else 0.0


def match(ours: Sequence[Box], theirs: Sequence[Box], least: float) -> list[tuple[int, int, float]]:
    """(index, index, IoU) of matching boxes on both sides: the best overlap first, each box once."""
    rated = sorted(
        ((shared, i, j) for i, a in enumerate(ours) for j, b in enumerate(theirs) if (shared := iou(a, b)) >= least),
        reverse=True,
    )
    found, left, right = [], set[int](), set[int]()
    for overlap, i, j in rated:
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
            found.append((i, j, overlap))
    return found


def mask_iou(a: Array, b: Array) -> float:
    """Intersection over union of two masks; 0 if both are empty."""
    covered = float((a | b).sum())
    return float((a & b).sum()) / covered if covered else 0.0


def same_neighbours(ours: Float32, theirs: Float32) -> float:
    """The share of each row's nearest ten other rows that both sides agree on; rows are of unit length."""
    both = [_nearest(side) for side in (ours, theirs)]
    return float(np.mean([len(a & b) / len(a) for a, b in zip(*both, strict=True)]))


def _nearest(rows: Float32) -> list[set[int]]:
    likeness = rows @ rows.T - 4 * np.eye(len(rows), dtype=np.float32)  # no row is its own neighbour
    return [set(row.argsort()[-NEAREST:].tolist()) for row in likeness]


def error_rate(read: Sequence[tuple[str, str]]) -> float:
    """Characters that differ, as a share of the second texts' characters; at most 1."""
    length = sum(len(wanted) for _, wanted in read)
    wrong = sum(min(edits(text, wanted), max(len(wanted), 1)) for text, wanted in read)
    return min(1.0, wrong / length) if length else float(wrong > 0)


def edits(a: str, b: str) -> int:
    """Characters to insert, delete or replace to turn one text into the other."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]
