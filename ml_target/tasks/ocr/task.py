"""The task of text recognition."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, StrictFloat, StrictInt, WithJsonSchema

from ml_target.catalogue.needs import names_there
from ml_target.catalogue.networks import TEXT_MODELS
from ml_target.catalogue.types import TextModel
from ml_target.imaging.structure import CORE
from ml_target.log.trace import Trace
from ml_target.scheduling.model import Model
from ml_target.tasks.contract import MIB, ImmichSetting, Job, Loading, Offer, Task
from ml_target.tasks.ocr.alphabets import alphabet_of
from ml_target.tasks.ocr.names import text_model
from ml_target.tasks.ocr.reader import Line, ReadOptions, TextReader
from ml_target.tasks.service import Service
from ml_target.tasks.wire import BOTH, SHARE, ModelEntry, Options, Score, Strict, both, empty_if_null
from ml_target.tensors import UInt8

WORKING_SET = 48 * MIB
"""Bytes for 16 tiles and 5120 columns of probabilities (`tasks.ocr.read.CHUNK`): by far the most of any task."""

MAX_RESOLUTION = 1_000_000
"""Beyond any picture's size a resolution changes nothing; the bound keeps the arithmetic small."""


class _DetectionOptions(Options):
    minScore: Score = 0.5  # noqa: N815 - the wire's spelling
    maxResolution: Annotated[  # noqa: N815
        StrictInt | StrictFloat,
        Field(ge=1, allow_inf_nan=False),
        WithJsonSchema({"type": "number", "minimum": 1}),
    ] = 736


class _RecognitionOptions(Options):
    minScore: Score = 0.9  # noqa: N815


class _Detection(ModelEntry):
    options: Annotated[_DetectionOptions, BeforeValidator(empty_if_null)] = _DetectionOptions()


class _Recognition(ModelEntry):
    options: Annotated[_RecognitionOptions, BeforeValidator(empty_if_null)] = _RecognitionOptions()


class _Entry(Strict):
    model_config = ConfigDict(json_schema_extra=BOTH)
    detection: _Detection | None = None
    recognition: _Recognition | None = None


def chosen_models(loading: Loading) -> list[TextModel]:
    """The text models that the settings ask for, the first of them first. Raises SettingsError."""
    return [TEXT_MODELS[name] for name in names_there("ocr_model", loading.settings.ocr_model, loading.has)]


def _model(service: Service[Any]) -> TextModel:
    """The text model that this service is."""
    return next(each for each in TEXT_MODELS.values() if each.detection.variant == service.variant)


_LISTS = {
    "text": {"type": "array", "items": {"type": "string"}},
    "box": {"type": "array", "items": SHARE},
    "boxScore": {"type": "array", "items": SHARE},
    "textScore": {"type": "array", "items": SHARE},
}
ANSWER = {"type": "object", "properties": _LISTS, "required": [*_LISTS], "additionalProperties": False}
"""As JSON Schema: parallel lists, with eight numbers of `box` for each line."""


class OcrTask(Task[_Entry, Sequence[Line]]):
    """Lines of text."""

    name = "ocr"
    entry = _Entry
    answer = ANSWER

    def offers(self, loading: Loading) -> list[Offer[TextReader]]:
        return [self.offer(model) for model in chosen_models(loading)]

    def offer(self, model: TextModel) -> Offer[TextReader]:
        """Detector and recogniser of a text model, with the recogniser's alphabet."""

        def load(loading: Loading) -> tuple[TextReader, tuple[Model, ...]]:
            alphabet = alphabet_of(model.recognition, loading)
            settings, models = loading.settings, (loading.model(model.detection), loading.model(model.recognition))
            reader = TextReader(*models, alphabet, loading.pool, settings.max_text_lines, settings.max_text_tiles)
            return reader, models

        return Offer((model.detection, model.recognition), load)

    def jobs(self, entry: _Entry) -> list[Job]:
        if not both(self.name, entry.detection, entry.recognition):
            return []
        assert entry.detection is not None
        assert entry.recognition is not None
        boxes, lines = entry.detection.options, entry.recognition.options
        options = ReadOptions(
            min_box_score=float(boxes.minScore),
            max_resolution=min(int(boxes.maxResolution), MAX_RESOLUTION),
            min_text_score=float(lines.minScore),
        )
        return [Job(self, self.name, entry.recognition.modelName, options)]

    def plain_job(self) -> Job:
        return Job(self, self.name, "", ReadOptions())

    def pick(self, job: Job, services: Sequence[Service[Any]]) -> Service[Any]:
        by_name = {_model(service).name: service for service in services}
        return by_name[text_model(job.model_name, [TEXT_MODELS[name] for name in by_name]).name]

    def served_by(self, job: Job, service: Service[Any]) -> str:
        return _model(service).immich_name

    def memory(self, pixels: int) -> int:
        """The largest line becomes a picture of Pillow's, and may be as large as the whole."""
        return CORE * pixels + WORKING_SET

    async def run(self, job: Job, serves: TextReader, content: UInt8, trace: Trace) -> Sequence[Line]:
        return await serves.read(content, job.options, trace)

    def encode(self, result: Sequence[Line]) -> dict[str, Any]:
        """Four parallel lists; `box` is flat, eight numbers per line, 0..1, clockwise from the top left."""
        return {
            "text": [line.text for line in result],
            "box": [float(n) for line in result for n in np.clip(line.corners, 0, 1).reshape(-1)],
            "boxScore": [float(line.box_score) for line in result],
            "textScore": [float(line.text_score) for line in result],
        }

    def labels(self, service: Service[Any]) -> tuple[str, str]:
        return "text", _model(service).immich_name

    def immich_setting(self, service: Service[Any]) -> ImmichSetting:
        return ImmichSetting("OCR model", _model(service).immich_name)

    def status(self, services: Sequence[Service[Any]]) -> dict[str, Any]:
        """Each text model, and the names of Immich's models for which it answers."""
        models = [(service, _model(service)) for service in services]
        return {
            "ocr": [
                {"model": m.name, "on": s.on, "immich_name": m.immich_name, "names": list(m.names)} for s, m in models
            ]
        }


OCR = OcrTask()
