"""What a worker answered for one photo or query, read strictly: an answer that Immich could not store is no answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import orjson

from ml_target.errors import WorkerError
from ml_target.tensors import Float32


class UnusableAnswer(WorkerError):
    """A worker's answer is not in Immich's format, or was refused."""


@dataclass(frozen=True, slots=True, eq=False)
class SeenFace:
    """`box`: left, top, right, bottom as shares of the picture's sides; `vector`: of unit length."""

    box: tuple[float, float, float, float]
    score: float
    vector: Float32


@dataclass(frozen=True, slots=True)
class SeenLine:
    """`box`: the upright rectangle around the line, as shares of the picture's sides."""

    box: tuple[float, float, float, float]
    text: str


MOST, MOST_LETTERS = 2_000, 2_000
"""Faces or lines of one photo, and letters of a line: to compare more would take hours, and no worker finds so many."""

Answer: TypeAlias = Float32 | tuple[SeenFace, ...] | tuple[SeenLine, ...]


def vector(answer: Mapping[str, Any]) -> Float32:
    """The search vector, of unit length. Raises UnusableAnswer."""
    return _unit(answer.get("clip"))


def faces(answer: Mapping[str, Any]) -> tuple[SeenFace, ...]:
    """Raises UnusableAnswer."""
    found = answer.get("facial-recognition")
    if not isinstance(found, list) or len(found) > MOST:
        raise _unusable(f"it has no list of at most {MOST:,} faces")
    try:
        wide, high = float(answer["imageWidth"]), float(answer["imageHeight"])
        return tuple(_face(each, wide, high) for each in found)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _unusable(f"a face, or the picture's size, is not as Immich wants it ({error!r})") from error


def lines(answer: Mapping[str, Any]) -> tuple[SeenLine, ...]:
    """Raises UnusableAnswer."""
    found = answer.get("ocr")
    try:
        assert isinstance(found, dict)
        if len(found["text"]) > MOST or any(len(text) > MOST_LETTERS for text in found["text"]):
            raise ValueError(f"more than {MOST:,} lines, or {MOST_LETTERS:,} letters in one")
        corners = np.asarray(found["box"], np.float64).reshape(len(found["text"]), 4, 2)
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
        if not np.isfinite(boxes).all():
            raise ValueError("a corner is no number")
        return tuple(SeenLine(tuple(box), str(text)) for box, text in zip(boxes.tolist(), found["text"], strict=True))
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise _unusable(f"its lines of text are not as Immich wants them ({error!r})") from error


def _face(face: Mapping[str, Any], wide: float, high: float) -> SeenFace:
    box = face["boundingBox"]
    sides = (box["x1"] / wide, box["y1"] / high, box["x2"] / wide, box["y2"] / high)
    if not np.isfinite(sides).all():
        raise ValueError("a side of its box is no number")
    return SeenFace(sides, float(face["score"]), _unit(face["embedding"]))


def _unit(text: object) -> Float32:
    try:
        if not isinstance(text, str):
            raise ValueError("not a string")
        with np.errstate(over="ignore"):
            numbers = np.asarray(orjson.loads(text), np.float32)  # Immich's column has this type
    except (TypeError, ValueError) as error:  # orjson's error is one, too
        raise _unusable(f"its vector cannot be read ({error})") from error
    wide = numbers.astype(np.float64)
    length = float(np.linalg.norm(wide)) if numbers.ndim == 1 and np.isfinite(numbers).all() else 0.0
    if not length:
        raise _unusable("its vector is empty, zero or not of numbers")
    return np.asarray(wide / length, np.float32)


def _unusable(why: str) -> UnusableAnswer:
    return UnusableAnswer(f"The answer cannot be used: {why}", "The worker's log may say more.")
