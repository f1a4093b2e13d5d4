"""The task of text recognition."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, StrictFloat, StrictInt, WithJsonSchema

from ml_target.catalogue.needs import chosen
from ml_target.catalogue.networks import OCR_IMMICH_NAME
from ml_target.imaging.structure import CORE
from ml_target.log.trace import Trace
from ml_target.scheduling.model import Model
from ml_target.tasks.contract import MIB, Job, Loading, Offer, Task
from ml_target.tasks.ocr.ctc import Alphabet
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
        return [self.offer(loading)]

    def offer(self, loading: Loading) -> Offer[TextReader]:
        """Detector and recogniser, with the dictionary."""
        detector, recognizer = (each for each in chosen(loading.settings) if each.task == self.name)

        def load(loading: Loading) -> tuple[TextReader, tuple[Model, ...]]:
            (dictionary,) = recognizer.companions
            alphabet = Alphabet.from_file(loading.file(dictionary))
            settings, models = loading.settings, (loading.model(detector), loading.model(recognizer))
            reader = TextReader(*models, alphabet, loading.pool, settings.max_text_lines, settings.max_text_tiles)
            return reader, models

        return Offer((detector, recognizer), load)

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

    def served_by(self, job: Job, service: Service[Any]) -> str:
        return text_model(job.model_name)

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
        return "text", OCR_IMMICH_NAME

    def immich_setting(self, service: Service[Any]) -> tuple[str, str]:
        return "OCR model", OCR_IMMICH_NAME


OCR = OcrTask()
