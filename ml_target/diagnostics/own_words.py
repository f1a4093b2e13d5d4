"""How `predict` asks a task by the command's arguments, and what it says of the answer besides its JSON."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ml_target.tasks.clip.task import CLIP
from ml_target.tasks.faces.finder import Face
from ml_target.tasks.faces.task import FACES
from ml_target.tasks.ocr.reader import Line, ReadOptions
from ml_target.tasks.ocr.task import OCR
from ml_target.tensors import Float32


@dataclass(frozen=True, slots=True)
class Words:
    """What `predict` does for a task beside the usual. `options`: of the job, from the arguments; None for its own.

    `lines`: what people read of a result of a variant, in place of the answer's JSON.
    """

    options: Callable[[Namespace], Any] | None
    lines: Callable[[Any, str], Sequence[str]]


def _vector(vector: Float32, space: str) -> list[str]:
    return [f"clip: {vector.size} numbers in space {space}"]


def _faces(found: Sequence[Face], _: str) -> list[str]:
    boxes = [f"  {face.score:.3f}  {' '.join(f'{n:.0f}' for n in face.box)}" for face in found]
    return [f"faces: {len(found)}" + (" (score, left, top, right, bottom)" if found else ""), *boxes]


def _lines(found: Sequence[Line], _: str) -> list[str]:
    return [f"lines of text: {len(found)}", *(f"  {line.text_score:.3f}  {line.text}" for line in found)]


def _reading(chosen: Namespace) -> ReadOptions:
    return ReadOptions(chosen.min_box_score, chosen.max_resolution, chosen.min_text_score)


OWN_WORDS: dict[str, Words] = {
    CLIP.name: Words(None, _vector),
    FACES.name: Words(lambda chosen: chosen.min_face_score, _faces),
    OCR.name: Words(_reading, _lines),
}
"""By the task's name on the wire. A task that is not listed is asked with its own options, and its JSON is shown."""
