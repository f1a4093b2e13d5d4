"""Faces: are the same ones found, and do old vectors and new ones tell the same people apart?

Immich keeps the vector of a face that it already knows, and compares new faces with those: so again the mix decides.
"""

from collections.abc import Sequence

import numpy as np

from ml_target.diagnostics.checks.measures import match
from ml_target.diagnostics.compare.answers import SeenFace
from ml_target.diagnostics.compare.comparison import Comparison, Likeness, count, number, share
from ml_target.diagnostics.compare.measures import near_pairs, spread

TASK = "faces"
SAME_FACE = 0.5
"""Least overlap (IoU) of two boxes of one face: the Immich server's own rule."""

ENOUGH = 20
"""Faces found by both, for a verdict."""

SAME_COSINE, SAME_FOUND, SAME_PEOPLE = 0.9, 0.97, 0.98
ALIKE_FOUND, ALIKE_PEOPLE, KEPT = 0.9, 0.9, 0.98

RESET = "Administration > Jobs > Face Detection > Reset after the change; people have to be named again."
STAY = "People stay, and new faces join them. "
MERGE = "Look through new people now and then, and merge."
REFRESH = (
    "Old photos keep the faces that they have; Face Detection > Refresh would add those that only we find, and remove "
    "those that only they have found."
)
"""What Refresh does: the Immich server's person service, which keeps the vector of each face that is found again."""


def compare(ours: Sequence[Sequence[SeenFace]], theirs: Sequence[Sequence[SeenFace]], distance: float) -> Comparison:
    """`ours`, `theirs`: the faces of the same photos; `distance`: the largest between two faces of one person."""
    told = f"{len(ours)} photos, {sum(map(len, ours))} faces by us, {sum(map(len, theirs))} by them"
    pairs: list[tuple[SeenFace, SeenFace]] = []
    overlaps: list[float] = []
    for mine, others in zip(ours, theirs, strict=True):
        for i, j, overlap in match([f.box for f in mine], [f.box for f in others], SAME_FACE):
            pairs.append((mine[i], others[j]))
            overlaps.append(overlap)
    found = [len(pairs) / max(1, sum(map(len, side))) for side in (theirs, ours)]
    measures = [
        share("found", "their faces that we find", found[0]),
        share("theirs", "our faces that they find", found[1]),
    ]
    if not pairs:
        return Comparison(TASK, told, tuple(measures), *_without_faces(ours, theirs))
    if len({len(face.vector) for pair in pairs for face in pair}) > 1:
        return Comparison(TASK, told, tuple(measures), Likeness.OTHER, "the vectors are of different widths", RESET)
    a, b = np.stack([x.vector for x, _ in pairs]), np.stack([y.vector for _, y in pairs])
    moved = spread(a, b)
    before = both = either = 0
    for old, mixed in near_pairs(distance, (b, b), (a, b)):
        before, both, either = (
            before + int(old.sum()),
            both + int((old & mixed).sum()),
            either + int((old | mixed).sum()),
        )
    people = both / either if either else 1.0
    kept = float(np.mean(np.einsum("nd,nd->n", a, b) >= 1 - distance))
    measures += [
        number("iou_mean", "overlap of their boxes and ours (IoU), mean", float(np.mean(overlaps))),
        number("cosine_mean", "one face's two vectors: cosine, mean", moved.mean),
        number("cosine_low", "          5 % are below", moved.low),
        number("cosine_least", "          least", moved.least),
        share("kept", f"faces whose two vectors are of one person at a distance of {distance:g}", kept),
        count("pairs", "pairs of faces of one person, by them", before),
        share("people", "  the same with one vector of each worker", people),
    ]
    return Comparison(TASK, told, tuple(measures), *_likeness(len(pairs), moved.low, found, people, kept))


def _without_faces(
    ours: Sequence[Sequence[SeenFace]], theirs: Sequence[Sequence[SeenFace]]
) -> tuple[Likeness, str, str]:
    if sum(map(len, ours)) + sum(map(len, theirs)) >= ENOUGH:
        look = "Look at the photos (--html) and at both workers' logs before anything is run in Immich."
        return Likeness.OPEN, "not one face was found by both, so no vectors can be compared", look
    return Likeness.OPEN, "no face was found by both", "Name photos with people in them."


def _likeness(faces: int, low: float, found: Sequence[float], people: float, kept: float) -> tuple[Likeness, str, str]:
    """`found`: the share of their faces that we find, and of ours that they find. Only vectors make another space."""
    if faces < ENOUGH:
        why = f"a verdict needs at least {ENOUGH} faces found by both"
        return Likeness.OPEN, why, "Name a folder of more photos with people in them."
    if low >= SAME_COSINE and min(found) >= SAME_FOUND and people >= SAME_PEOPLE:
        return Likeness.SAME, "the same faces, the same people", "Change at will: nothing has to run again."
    if kept < KEPT:
        return Likeness.OTHER, f"{100 * (1 - kept):.1f} % of faces would not be taken for the same person again", RESET
    if people < ALIKE_PEOPLE:
        return Likeness.OTHER, "other people are told apart", RESET
    if min(found) < ALIKE_FOUND:
        why = f"people are told apart alike, but we find {found[0]:.0%} of their faces, and they {found[1]:.0%} of ours"
        return Likeness.ALIKE, why, STAY + REFRESH
    return Likeness.ALIKE, "people are told apart alike, but not every face is found, or vectors moved", STAY + MERGE
