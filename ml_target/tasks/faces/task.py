"""The task of facial recognition."""

import logging
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict

from ml_target.catalogue.needs import chosen
from ml_target.catalogue.networks import FACES_IMMICH_NAME
from ml_target.catalogue.types import Network
from ml_target.log.trace import Trace
from ml_target.scheduling.model import Model
from ml_target.tasks.contract import MIB, ImmichSetting, Job, Loading, Offer, Task
from ml_target.tasks.faces.finder import Face, FaceFinder
from ml_target.tasks.service import Service
from ml_target.tasks.wire import (
    BOTH,
    SHARE,
    VECTOR_TEXT,
    ModelEntry,
    Options,
    Score,
    Strict,
    both,
    empty_if_null,
    vector_text,
)
from ml_target.tensors import UInt8

log = logging.getLogger(__name__)

WORKING_SET = 8 * MIB
"""Bytes for frames that wait and for crops; both are cut from the pixels without a copy of the whole."""


class _DetectionOptions(Options):
    minScore: Score = 0.7  # noqa: N815 - the wire's spelling


class _Detection(ModelEntry):
    options: Annotated[_DetectionOptions, BeforeValidator(empty_if_null)] = _DetectionOptions()


class _Entry(Strict):
    model_config = ConfigDict(json_schema_extra=BOTH)
    detection: _Detection | None = None
    recognition: ModelEntry | None = None


_BOX = {
    "type": "object",
    "properties": {side: {"type": "integer"} for side in ("x1", "y1", "x2", "y2")},
    "required": ["x1", "y1", "x2", "y2"],
    "additionalProperties": False,
}
ANSWER = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"boundingBox": _BOX, "embedding": VECTOR_TEXT, "score": SHARE},
        "required": ["boundingBox", "embedding", "score"],
        "additionalProperties": False,
    },
}
"""As JSON Schema: the faces, the best first, with boxes in pixels."""


class FaceTask(Task[_Entry, Sequence[Face]]):
    """Boxes, scores and vectors of the faces that score at least the score asked for."""

    name = "facial-recognition"
    entry = _Entry
    answer = ANSWER

    def offers(self, loading: Loading) -> list[Offer[FaceFinder]]:
        offer = self.offer(loading)
        detector, recognizer = offer.networks
        _recommend(detector, recognizer, loading)
        return [offer]

    def offer(self, loading: Loading) -> Offer[FaceFinder]:
        """Detector and recogniser."""
        detector, recognizer = (each for each in chosen(loading.settings) if each.task == self.name)
        networks = (detector, _or_stand_in(recognizer, loading))

        def load(loading: Loading) -> tuple[FaceFinder, tuple[Model, ...]]:
            settings, models = loading.settings, (loading.model(networks[0]), loading.model(networks[1]))
            return FaceFinder(*models, loading.pool, settings.max_faces, settings.face_search), models

        return Offer(networks, load)

    def jobs(self, entry: _Entry) -> list[Job]:
        if not both(self.name, entry.detection, entry.recognition):
            return []
        assert entry.detection is not None
        return [Job(self, self.name, entry.detection.modelName, float(entry.detection.options.minScore))]

    def plain_job(self) -> Job:
        return Job(self, self.name, "", float(_DetectionOptions().minScore))

    def served_by(self, job: Job, service: Service[Any]) -> str:
        """Immich's name where both networks are Immich's own."""
        immich = bool(service.models) and all(model.network.asked_as == FACES_IMMICH_NAME for model in service.models)
        return FACES_IMMICH_NAME if immich else super().served_by(job, service)

    def memory(self, pixels: int) -> int:
        return WORKING_SET

    async def run(self, job: Job, serves: FaceFinder, content: UInt8, trace: Trace) -> Sequence[Face]:
        return await serves.find(content, job.options, trace)

    def encode(self, result: Sequence[Face]) -> list[dict[str, Any]]:
        """Boxes in whole pixels of the sent picture: Immich's columns are integers."""
        return [
            {
                "boundingBox": _whole_box(face.box),
                "embedding": vector_text(face.embedding),
                "score": min(1.0, float(face.score)),
            }
            for face in result
        ]

    def show(self, result: Sequence[Face]) -> list[dict[str, Any]]:
        """With `landmarks`: five points of each face, in pixels of the sent picture."""
        points = ([[float(x), float(y)] for x, y in face.landmarks] for face in result)
        return [{**face, "landmarks": five} for face, five in zip(self.encode(result), points, strict=True)]

    def labels(self, service: Service[Any]) -> tuple[str, str]:
        return "faces", " + ".join(model.network.name for model in service.models)

    def immich_setting(self, service: Service[Any]) -> ImmichSetting:
        return ImmichSetting("Facial recognition", FACES_IMMICH_NAME)


def _recommend(detector: Network, recognizer: Network, loading: Loading) -> None:
    """On a card, names the detector that goes with the recogniser, if another one of the card is set."""
    better = recognizer.goes_with
    if better is None or better is detector or not loading.engine(detector).capabilities.beside_host:
        return
    log.info(
        "FACE_DETECTOR=%s is recommended beside FACE_RECOGNIZER=%s, rather than %s: it finds faces as the detector "
        "does that this recogniser belongs to, so vectors stay closer to Immich's own",
        better.choice,
        recognizer.choice,
        detector.choice,
    )


def _or_stand_in(network: Network, loading: Loading) -> Network:
    """The network; where nobody asked for it by name and only its stand-in is there, that one, with a warning."""
    stand_in = network.stand_in
    if loading.settings.face_recognizer or stand_in is None or loading.has(network) or not loading.has(stand_in):
        return network
    if loading.engine(stand_in) is not loading.engine(network):  # the processor never stands in for a card
        return network
    log.warning(
        "%s is not there; faces are described by %s: %s. Keep these vectors out of a real library.",
        network.name,
        stand_in.name,
        stand_in.note,
    )
    return stand_in


def _whole_box(box: Sequence[float]) -> dict[str, int]:
    x1, y1, x2, y2 = (round(n) for n in box)  # half to even, as the official worker's
    return {"x1": x1, "y1": y1, "x2": max(x2, x1 + 1), "y2": max(y2, y1 + 1)}


FACES = FaceTask()
