"""SCRFD: nine maps to boxes, scores and landmarks, as InsightFace decodes them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml_target.errors import EngineFault
from ml_target.remedies import check_file
from ml_target.tensors import Float32, Outputs, Tensor

Indices = npt.NDArray[np.intp]

NMS_IOU = 0.4  # InsightFace's and Immich's
MAX_CANDIDATES = 5000
_POINTS = 5
_SCORE_SLACK = 0.01  # quantised scores may stand a little outside 0..1


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Faces of one picture, best first.

    `boxes`: N x 4 float32 (x1, y1, x2, y2) in picture pixels, neither rounded nor clipped.
    `scores`: N float32. `landmarks`: N x 5 x 2 float32 in picture pixels: left eye, right eye (as
    seen in the picture), nose, left and right corner of the mouth. `unseen`: candidates at or above
    the score asked for that a limit left out; every face here has a better score than any of them.
    """

    boxes: Float32
    scores: Float32
    landmarks: Float32
    unseen: int = 0

    def part(self, index: npt.NDArray[Any]) -> "Detections":
        """The faces that numpy's `index` picks."""
        return Detections(self.boxes[index], self.scores[index], self.landmarks[index], self.unseen)

    def shifted(self, right: float, down: float) -> "Detections":
        """The faces moved by `right` and `down` picture pixels."""
        by = np.array([right, down], np.float32)
        return Detections(self.boxes + np.tile(by, 2), self.scores, self.landmarks + by, self.unseen)


def decode(
    outputs: Outputs, scale: float, min_score: float, max_faces: int, max_candidates: int = MAX_CANDIDATES
) -> Detections:
    """The faces in the outputs of one frame.

    `outputs`: for every stride s the roles `score_s`, `box_s`, `kps_s`, maps of H/s x W/s x
    (A, 4A, 10A) for A anchors per cell. Scores are probabilities; distances are in strides.
    `scale`: frame pixels per picture pixel. Scores of at least `min_score` count, compared as float32.
    Among equals the finer stride, then the upper, then the left one is first.

    The limits cut off the weakest faces only: whether a face stays depends on better ones alone.
    Raises EngineFault for numbers that no intact network gives, ValueError for a `min_score`
    that is not finite.
    """
    if not math.isfinite(min_score):
        raise ValueError(f"min_score is {min_score}, not a finite number")
    min_score = min(max(min_score, -1.0), 2.0)  # at -1 all pass, at 2 none
    strides = sorted(int(role.removeprefix("score_")) for role in outputs if role.startswith("score_"))
    found = [_passing(outputs[f"score_{stride}"], min_score) for stride in strides]
    scores = np.concatenate([score for _, score in found])
    anchors = np.concatenate([index for index, _ in found])
    levels = np.repeat(np.arange(len(strides)), [len(index) for index, _ in found])

    order = np.argsort(-scores, kind="stable")
    best = order[:max_candidates]
    boxes = np.empty((len(best), 4), np.float32)
    landmarks = np.empty((len(best), _POINTS, 2), np.float32)
    for level, stride in enumerate(strides):
        here = levels[best] == level
        boxes[here], landmarks[here] = _place(outputs, stride, anchors[best[here]])
    if not (np.isfinite(boxes).all() and np.isfinite(landmarks).all()):
        raise _fault("boxes that are not numbers")
    boxes /= np.float32(scale)
    landmarks /= np.float32(scale)

    kept, unseen = suppress(boxes, max_faces)
    return Detections(boxes[kept], scores[best[kept]], landmarks[kept], unseen + len(order) - len(best))


def suppress(boxes: Float32, limit: int, iou: float = NMS_IOU) -> tuple[Indices, int]:
    """Non-maximum suppression of boxes that are sorted best first.

    `boxes`: N x 4 float32. Returns the indices of at most `limit` boxes that stay, and how many
    more would overlap none of those by more than `iou` but were left unexamined. Sides
    count one pixel more than their difference, as in InsightFace.
    """
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1 + 1) * (y2 - y1 + 1)
    order = np.arange(len(boxes))
    kept: list[int] = []
    while order.size and len(kept) < limit:
        best, rest = order[0], order[1:]
        kept.append(best)
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]) + 1
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]) + 1
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        # Inside-out boxes of very low scores can have areas that cancel out.
        with np.errstate(divide="ignore", invalid="ignore"):
            order = rest[shared / (areas[best] + areas[rest] - shared) <= iou]
    return np.array(kept, np.intp), order.size


def combine(first: Detections, more: Sequence[Detections], max_faces: int) -> Detections:
    """`first` as it is, and the faces of `more` that overlap neither it nor a better one of `more`; best first."""
    extra = _joined(more)
    extra = extra.part(np.argsort(-extra.scores, kind="stable"))
    together = _joined([first, extra])
    stays, unseen = suppress(together.boxes, len(together.boxes))
    kept = together.part(stays[np.argsort(-together.scores[stays], kind="stable")])
    return Detections(
        kept.boxes[:max_faces],
        kept.scores[:max_faces],
        kept.landmarks[:max_faces],
        kept.unseen + unseen + max(0, len(kept.scores) - max_faces),
    )


def _joined(parts: Sequence[Detections]) -> Detections:
    return Detections(
        np.concatenate([d.boxes for d in parts]),
        np.concatenate([d.scores for d in parts]),
        np.concatenate([d.landmarks for d in parts]),
        sum(d.unseen for d in parts),
    )


def _passing(scores: Tensor, min_score: float) -> tuple[Indices, Float32]:
    """Indices (row-major, anchors innermost) and real scores of the anchors that score at least `min_score`."""
    flat = Tensor(scores.values.reshape(-1), scores.scale, scores.zero_point)
    lowest, highest = flat.real(flat.values.argmin()), flat.real(flat.values.argmax())
    if not (lowest >= -_SCORE_SLACK and highest <= 1 + _SCORE_SLACK):  # NaN is neither
        raise _fault(f"scores from {lowest:g} to {highest:g} instead of 0 to 1")
    bound = np.float32(min_score)
    integers = flat.values.dtype.kind in "ui"
    picked = np.flatnonzero(flat.values >= (math.floor(flat.raw(min_score)) if integers else bound))
    real = flat.real(picked)
    passing = real >= bound
    return picked[passing], real[passing]


def _place(outputs: Outputs, stride: int, anchors: Indices) -> tuple[Float32, Float32]:
    """Boxes (N x 4) and landmarks (N x 5 x 2) of the given anchors of one stride, in frame pixels."""
    _, width, per_cell = outputs[f"score_{stride}"].values.shape
    rows, columns = np.divmod(anchors // per_cell, width)
    # A cell's anchors stand on its top-left corner, not in its middle.
    centres = np.stack([columns, rows], axis=-1).astype(np.float32) * np.float32(stride)
    distances = _rows(outputs[f"box_{stride}"], 4).real(anchors) * np.float32(stride)
    boxes = np.concatenate([centres - distances[:, :2], centres + distances[:, 2:]], axis=1)
    offsets = _rows(outputs[f"kps_{stride}"], 2 * _POINTS).real(anchors) * np.float32(stride)
    return boxes, centres[:, None] + offsets.reshape(-1, _POINTS, 2)


def _rows(tensor: Tensor, numbers: int) -> Tensor:
    """The map with one row per anchor."""
    return Tensor(tensor.values.reshape(-1, numbers), tensor.scale, tensor.zero_point)


def _fault(what: str) -> EngineFault:
    return EngineFault(f"The face detector gave {what}", check_file())
