"""Faces: find them, turn them upright, describe each by a vector."""

from dataclasses import dataclass

import numpy as np

from ml_target.catalogue.networks import EMBEDDING
from ml_target.catalogue.types import FaceDetectionMode
from ml_target.errors import EngineFault, ModelError
from ml_target.log.trace import Trace
from ml_target.remedies import check_file, not_the_catalogues
from ml_target.scheduling.model import Model
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.faces.align import align
from ml_target.tasks.faces.detect import FaceDetector, frame_size
from ml_target.tensors import Float32, Outputs, UInt8

CROPS_AT_ONCE = 32  # the crops of a crowd need not all be in memory at once


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face.

    `box`: x1, y1, x2, y2 in picture pixels, neither rounded nor clipped. `landmarks`: 5 x 2 float32
    in picture pixels. `embedding`: float32, as the network gives it, of any length.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: Float32
    embedding: Float32


class FaceFinder:
    """Detector and recogniser together: a picture in, faces out."""

    def __init__(
        self,
        detector: Model,
        recognizer: Model,
        pool: ThreadPool,
        max_faces: int,
        mode: FaceDetectionMode = "official",
    ) -> None:
        self._detector = detector
        self._recognizer = recognizer
        self._pool = pool
        self._detection = FaceDetector(detector, pool, max_faces, mode)
        self._crop, width = frame_size(recognizer)
        if self._crop != width:
            raise ModelError(
                f"{recognizer.network.name} takes {self._crop} x {width}, a square is wanted for faces",
                not_the_catalogues(),
            )

    async def find(self, picture: UInt8, min_score: float, trace: Trace) -> list[Face]:
        """The faces whose score is at least `min_score`, best first.

        `picture`: H x W x 3 uint8 RGB. Raises EngineFault when a network gives impossible values.
        """
        with self._recognizer.coming(None):  # most pictures sent for face recognition show a face
            found = await self._detection.find(picture, min_score, trace)
        trace.count("faces", len(found.scores))
        if found.unseen:
            trace.warn(
                f"{len(found.scores)} faces answered, {found.unseen} weaker candidates left out; "
                "raise the least score in Immich, or MAX_FACES here"
            )
        embeddings = await self._describe(picture, found.landmarks, trace)
        return [
            Face((float(box[0]), float(box[1]), float(box[2]), float(box[3])), float(score), landmarks, embedding)
            for box, score, landmarks, embedding in zip(
                found.boxes, found.scores, found.landmarks, embeddings, strict=True
            )
        ]

    async def _describe(self, picture: UInt8, landmarks: Float32, trace: Trace) -> list[Float32]:
        embeddings: list[Float32] = []
        for start in range(0, len(landmarks), CROPS_AT_ONCE):
            chunk = landmarks[start : start + CROPS_AT_ONCE]
            with trace.stage("faces.align"), self._recognizer.coming(len(chunk)):
                try:
                    crops = await self._pool.run(align, picture, chunk, self._crop)
                except ValueError as error:
                    raise _fault(self._detector, f"a face that cannot be turned upright ({error})") from error
            with trace.stage("faces.recognise"):
                embeddings += [self._embedding(outputs) for outputs in await self._recognizer.infer(crops)]
        return embeddings

    def _embedding(self, outputs: Outputs) -> Float32:
        embedding = outputs[EMBEDDING].real().reshape(-1)
        if not np.isfinite(embedding).all():
            raise _fault(self._recognizer, "a vector with entries that are not numbers")
        if not embedding.any():
            raise _fault(self._recognizer, "a vector of zeros")
        return embedding


def _fault(model: Model, what: str) -> EngineFault:
    return EngineFault(f"{model.network.name} gave {what}", check_file())
