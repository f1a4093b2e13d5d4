"""Immich's wire format: `entries` to jobs, results to JSON. Nothing else knows it.

Source: the Immich server's requests and the official worker's request types.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    StringConstraints,
    ValidationError,
)

from ml_target.errors import MalformedRequest, UnusableInput
from ml_target.log.words import short
from ml_target.tasks.faces.finder import Face
from ml_target.tasks.ocr.reader import Line, ReadOptions
from ml_target.tensors import Float32

MAX_ENTRIES = 64 * 1024
"""Bytes or characters; Immich's are below 300, and checking more would hold the event loop."""

# ------------------------------------------------------------------ requests


def _empty_if_null(value: Any) -> Any:
    return {} if value is None else value


Score = Annotated[StrictInt | StrictFloat, Field(ge=0, le=1, allow_inf_nan=False)]
Resolution = Annotated[StrictInt | StrictFloat, Field(ge=1, allow_inf_nan=False)]


class _Options(BaseModel):
    """Unknown options are ignored, so that this worker survives a newer server."""

    model_config = ConfigDict(extra="ignore")


class _FaceOptions(_Options):
    minScore: Score = 0.7  # noqa: N815 - the wire's spelling


class _TextBoxOptions(_Options):
    minScore: Score = 0.5  # noqa: N815
    maxResolution: Resolution = 736  # noqa: N815


class _TextLineOptions(_Options):
    minScore: Score = 0.9  # noqa: N815


class _Model(BaseModel):
    """Unknown keys beside `modelName` and `options` are errors, as in the official worker."""

    model_config = ConfigDict(extra="forbid", strict=True)
    modelName: Annotated[str, StringConstraints(strip_whitespace=True)]  # noqa: N815
    options: Annotated[_Options, BeforeValidator(_empty_if_null)] = _Options()


class _FaceDetection(_Model):
    options: Annotated[_FaceOptions, BeforeValidator(_empty_if_null)] = _FaceOptions()


class _TextDetection(_Model):
    options: Annotated[_TextBoxOptions, BeforeValidator(_empty_if_null)] = _TextBoxOptions()


class _TextRecognition(_Model):
    options: Annotated[_TextLineOptions, BeforeValidator(_empty_if_null)] = _TextLineOptions()


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Clip(_Strict):
    visual: _Model | None = None
    textual: _Model | None = None


class _Faces(_Strict):
    detection: _FaceDetection | None = None
    recognition: _Model | None = None


class _Ocr(_Strict):
    detection: _TextDetection | None = None
    recognition: _TextRecognition | None = None


class _Entries(_Strict):
    clip: _Clip | None = None
    facial_recognition: _Faces | None = Field(default=None, alias="facial-recognition")
    ocr: _Ocr | None = None


@dataclass(frozen=True, slots=True)
class ClipJob:
    """One vector: of the picture (`visual`) or of the text (`textual`)."""

    stage: Literal["visual", "textual"]
    model_name: str

    @property
    def label(self) -> str:
        return f"clip.{self.stage}"


@dataclass(frozen=True, slots=True)
class FaceJob:
    """Boxes, scores and vectors of the faces that score at least `min_score`."""

    model_name: str
    min_score: float
    label: str = "facial-recognition"


@dataclass(frozen=True, slots=True)
class OcrJob:
    """Lines of text."""

    model_name: str
    options: ReadOptions
    label: str = "ocr"


Job = ClipJob | FaceJob | OcrJob


def parse_entries(entries: str | bytes) -> list[Job]:
    """The jobs of one request.

    Raises MalformedRequest for a wrong form, UnusableInput for recognition without detection.
    """
    if len(entries) > MAX_ENTRIES:
        raise entries_too_long()
    try:
        content = orjson.loads(entries)
    except ValueError as error:
        raise MalformedRequest(f"Invalid request format: entries is not JSON ({error}).") from error
    if not isinstance(content, dict):
        raise MalformedRequest("Invalid request format: entries is not a JSON object.")
    for task, stages in content.items():
        # What is asked for must be answered or refused, so a task that is there has to ask for something.
        if stages is None or stages == {} or (isinstance(stages, dict) and None in stages.values()):
            raise MalformedRequest(f"Invalid request format: {short(task)} asks for nothing.")
    try:
        asked = _Entries.model_validate(content)
    except ValidationError as error:
        raise MalformedRequest(f"Invalid request format: {_summary(error)}.") from error
    jobs = [*_clip_jobs(asked.clip), *_face_jobs(asked.facial_recognition), *_ocr_jobs(asked.ocr)]
    if not jobs:
        raise MalformedRequest("No model task requested", "Ask for clip, facial-recognition or ocr in entries.")
    return jobs


def entries_too_long() -> MalformedRequest:
    """The refusal of `entries` beyond `MAX_ENTRIES`, for those who can tell before all of it is there."""
    return MalformedRequest(f"Invalid request format: entries has more than {MAX_ENTRIES:,} characters.")


def _clip_jobs(asked: _Clip | None) -> list[Job]:
    if asked is None:
        return []
    if asked.visual and asked.textual:
        raise MalformedRequest("clip has one result a request: ask for visual or for textual, not for both.")
    if asked.visual:
        return [ClipJob("visual", asked.visual.modelName)]
    return [ClipJob("textual", asked.textual.modelName)] if asked.textual else []


def _face_jobs(asked: _Faces | None) -> list[Job]:
    if asked is None or not _complete("facial-recognition", asked.detection, asked.recognition):
        return []
    assert asked.detection is not None
    return [FaceJob(asked.detection.modelName, float(asked.detection.options.minScore))]


def _ocr_jobs(asked: _Ocr | None) -> list[Job]:
    if asked is None or not _complete("ocr", asked.detection, asked.recognition):
        return []
    assert asked.detection is not None
    assert asked.recognition is not None
    boxes, lines = asked.detection.options, asked.recognition.options
    # Beyond any picture's size a resolution changes nothing; the bound keeps the arithmetic small.
    options = ReadOptions(
        min_box_score=float(boxes.minScore),
        max_resolution=min(int(boxes.maxResolution), 1_000_000),
        min_text_score=float(lines.minScore),
    )
    return [OcrJob(asked.recognition.modelName, options)]


def _complete(task: str, detection: _Model | None, recognition: _Model | None) -> bool:
    if detection is None and recognition is None:
        return False
    if detection is None or recognition is None:
        present, missing = ("recognition", "detection") if detection is None else ("detection", "recognition")
        raise UnusableInput(f"{task}: {present} needs {missing} in the same request", "Ask for both, as Immich does.")
    return True


def _summary(error: ValidationError) -> str:
    errors = error.errors(include_input=False, include_url=False, include_context=False)
    place = ".".join(map(str, errors[0]["loc"]))
    more = len(errors) - 1
    return f"{short(place)}: {errors[0]['msg']}" + (f" (and {more} more)" if more else "")


# ----------------------------------------------------------------- responses


def vector_text(vector: Float32) -> str:
    """A JSON array as text: Immich binds it straight into SQL. Shortest float32 digits."""
    return orjson.dumps(np.ascontiguousarray(vector, np.float32), option=orjson.OPT_SERIALIZE_NUMPY).decode()


def faces_result(faces: Sequence[Face]) -> list[dict[str, Any]]:
    """Boxes in whole pixels of the sent picture: Immich's columns are integers."""
    return [
        {
            "boundingBox": _whole_box(face.box),
            "embedding": vector_text(face.embedding),
            "score": min(1.0, float(face.score)),
        }
        for face in faces
    ]


def _whole_box(box: Sequence[float]) -> dict[str, int]:
    x1, y1, x2, y2 = (round(n) for n in box)  # half to even, as the official worker's
    return {"x1": x1, "y1": y1, "x2": max(x2, x1 + 1), "y2": max(y2, y1 + 1)}


def ocr_result(lines: Sequence[Line]) -> dict[str, Any]:
    """Four parallel lists; `box` is flat, eight numbers a line, 0..1, clockwise from the top left."""
    return {
        "text": [line.text for line in lines],
        "box": [float(n) for line in lines for n in np.clip(line.corners, 0, 1).reshape(-1)],
        "boxScore": [float(line.box_score) for line in lines],
        "textScore": [float(line.text_score) for line in lines],
    }


def encode(answer: dict[str, Any]) -> bytes:
    """Strict UTF-8 JSON."""
    return orjson.dumps(answer)
