"""Faces as InsightFace itself finds and describes them: what the classic Immich worker runs."""

import importlib.util
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from remembered import RememberedSession

from ml_target.tensors import Float32, UInt8


def find_insightface() -> Path:
    """The folder of the installed package; skips the test when there is none."""
    spec = importlib.util.find_spec("insightface")
    if spec is None or spec.origin is None:
        pytest.skip("insightface is not installed; `./setup.sh test` installs it")
    return Path(spec.origin).parent


@dataclass(frozen=True, slots=True)
class Found:
    """`boxes` N x 4, `scores` N, `landmarks` N x 5 x 2 in picture pixels."""

    boxes: Float32
    scores: Float32
    landmarks: Float32


class InsightFace:
    """Its detector, aligner and recogniser on the given files. `threads`: of an inference.

    `remembers`: a picture is inferred once, however often it is asked for. Not for benches.
    """

    def __init__(self, detector: Path, recognizer: Path, threads: int = 1, *, remembers: bool = False) -> None:
        find_insightface()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import onnxruntime
            from insightface.model_zoo.arcface_onnx import ArcFaceONNX
            from insightface.model_zoo.retinaface import RetinaFace
            from insightface.utils import face_align
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3

        def session(file: Path) -> Any:
            made = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            return RememberedSession(made) if remembers else made

        self._detector: Any = RetinaFace(model_file=str(detector), session=session(detector))
        self._recognizer: Any = ArcFaceONNX(model_file=str(recognizer), session=session(recognizer))
        self._align: Any = face_align

    def find(self, picture: UInt8, min_score: float) -> Found:
        """The detector at 640 x 640, as Immich sets it up. `picture`: RGB."""
        self._detector.prepare(ctx_id=0, det_thresh=min_score, input_size=(640, 640))
        boxes, landmarks = self._detector.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        return Found(boxes[:, :4], boxes[:, 4], landmarks)

    def suppress(self, boxes: Float32, scores: Float32) -> list[int]:
        """Its non-maximum suppression: the indices that stay."""
        kept: list[int] = self._detector.nms(np.column_stack([boxes, scores]))
        return kept

    def crop(self, picture: UInt8, landmarks: Float32) -> UInt8:
        """The aligned 112 x 112 face, RGB."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # it calls a method scikit-image deprecates
            crop: UInt8 = self._align.norm_crop(picture, landmarks, 112)
        return crop

    def describe(self, crop: UInt8) -> Float32:
        """The recogniser's vector of one RGB crop, not normalised."""
        vector: Float32 = self._recognizer.get_feat(cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))[0]
        return vector
