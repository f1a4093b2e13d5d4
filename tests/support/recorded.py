"""Networks that answer what was recorded of them: host work without the network, for `scripts/bench host`.

They import nothing of `ml_target` that has moved since the first versions, so that older checkouts can be measured.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = Any
FACE_CELLS = ((10, 12), (16, 30), (22, 20))
"""Cells of stride 16 with a face, in every picture."""

ANCHORS, STRIDES, SIDE = 2, (8, 16, 32), 640


class Recorded:
    """A network as a queue takes it. The first pass computes and notes the answers, later ones give them, in order."""

    def __init__(
        self, shape: tuple[int, ...], compute: Callable[[Array], Mapping[str, Any]], roles: Any = None
    ) -> None:
        from ml_target.engines import Intake

        self.intake = Intake(shape, "uint8")
        self.max_batch = 8
        self.roles: Mapping[str, tuple[int, ...]] = roles or {}
        self._compute = compute
        self._answers: dict[object, list[Mapping[str, Any]]] = {}
        self._key: object = None
        self._place = 0

    def begin(self, key: object) -> None:
        """The frames of one photo's task follow. `key`: which."""
        self._key, self._place = key, 0
        self._answers.setdefault(key, [])

    def run(self, frames: Sequence[Array]) -> list[Mapping[str, Any]]:
        answers = self._answers[self._key]
        for frame in frames[max(0, len(answers) - self._place) :]:
            answers.append(self._compute(frame))
        given = answers[self._place : self._place + len(frames)]
        self._place += len(frames)
        return given

    def close(self) -> None: ...


def face_maps() -> dict[str, Array]:
    """A face detector's outputs by role, H x W x C float32: the same faces in every picture."""
    maps = {}
    for stride in STRIDES:
        cells = SIDE // stride
        for role, channels in (("score", 1), ("box", 4), ("kps", 10)):
            maps[f"{role}_{stride}"] = np.zeros((cells, cells, ANCHORS * channels), np.float32)
    for row, column in FACE_CELLS:
        maps["score_16"][row, column, 0] = 0.9
        maps["box_16"][row, column, :4] = 2.5
        maps["kps_16"][row, column, :10] = (-1, -1, 1, -1, 0, 0, -0.8, 1, 0.8, 1)
    return maps


class OnnxPicture:
    """A text network computed with ONNX Runtime, answering in bytes as a card does."""

    def __init__(self, file: Path, spec: Any, role: str) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        self._mean, self._std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
        self._role = role

    def __call__(self, frame: Array) -> Mapping[str, Any]:
        from ml_target.tensors import Tensor

        real = ((frame.astype(np.float32) - self._mean) / self._std).transpose(2, 0, 1)[None]
        [answer] = self._session.run(None, {self._session.get_inputs()[0].name: np.ascontiguousarray(real)})
        values = answer[0, 0][..., None] if answer.ndim == 4 else answer[0]
        return {self._role: Tensor(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8), 1 / 255, 0.0)}
