"""Face detection: in the official worker's letterbox, and on request in views that show what it cannot."""

from ml_target.catalogue.types import FaceDetectionMode, PictureInput
from ml_target.errors import ModelError
from ml_target.log.trace import Trace
from ml_target.remedies import WRONG_ENTRY
from ml_target.scheduling.model import Model
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.faces.letterbox import letterbox
from ml_target.tasks.faces.scrfd import Detections, combine, decode
from ml_target.tasks.faces.views import View, close_view, tiny_views
from ml_target.tensors import Outputs, UInt8


class FaceDetector:
    """The face detector. `mode`: `close` adds faces that fill the picture, `tiny` small ones in a large picture."""

    def __init__(self, detector: Model, pool: ThreadPool, max_faces: int, mode: FaceDetectionMode) -> None:
        self._detector = detector
        self._pool = pool
        self._max_faces = max_faces
        self._mode = mode
        self._size = frame_size(detector)

    async def find(self, picture: UInt8, min_score: float, trace: Trace) -> Detections:
        """The faces of at least `min_score`, best first. `picture`: H x W x 3 uint8 RGB.

        What the letterbox shows is answered exactly as the official worker does; the other views only add to it.
        """
        with trace.stage("faces.prepare"), self._detector.coming():
            frame, scale = await self._pool.run(letterbox, picture, *self._size)
        with trace.stage("faces.detect"):
            [outputs] = await self._detector.infer([frame])
        with trace.stage("faces.boxes"):
            found = await self._pool.run(decode, outputs, scale, min_score, self._max_faces)
        if self._mode == "official":
            return found
        with trace.stage("faces.prepare"):
            views = await self._pool.run(self._views, picture, nothing=not len(found.scores) and not found.unseen)
        if not views:
            return found
        trace.count("views", len(views))
        with trace.stage("faces.detect"):
            more = await self._detector.infer([view.frame for view in views])
        with trace.stage("faces.boxes"):
            return await self._pool.run(self._add, found, views, more, min_score)

    def _views(self, picture: UInt8, nothing: bool) -> list[View]:
        close = [close_view(picture, *self._size)] if self._mode in ("close", "both") and nothing else []
        return close + (tiny_views(picture, *self._size) if self._mode in ("tiny", "both") else [])

    def _add(self, found: Detections, views: list[View], outputs: list[Outputs], min_score: float) -> Detections:
        more = []
        for view, output in zip(views, outputs, strict=True):
            seen = decode(output, view.scale, min_score, self._max_faces)
            shifted = seen.shifted(view.left / view.scale, view.top / view.scale)
            more.append(shifted.part(view.whole(shifted.boxes)))
        return combine(found, more, self._max_faces)


def frame_size(model: Model) -> tuple[int, int]:
    """Height and width of the model's frames: the file's, or the catalogue's where the file takes any size."""
    spec = model.network.input
    if not isinstance(spec, PictureInput) or spec.colour != "RGB":
        raise ModelError(f"{model.network.name} does not take RGB pictures, so it cannot serve faces", WRONG_ENTRY)
    height, width = model.intake.shape[:2]
    return height or spec.height, width or spec.width
