"""The checks that selfcheck runs for each task, by the task's name on the wire: one line for a new task."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

from ml_target.catalogue.networks import service_label
from ml_target.diagnostics.checks.clip import ClipChecks
from ml_target.diagnostics.checks.faces import FaceChecks
from ml_target.diagnostics.checks.ocr import OcrChecks
from ml_target.diagnostics.checks.result import Check, Gap
from ml_target.diagnostics.checks.samples import Samples
from ml_target.diagnostics.checks.sides import Bench
from ml_target.runtime.assembly import Loader
from ml_target.tasks.clip.task import CLIP, chosen_backends
from ml_target.tasks.contract import Task
from ml_target.tasks.faces.task import FACES
from ml_target.tasks.ocr.task import OCR, chosen_models


class Checks(Protocol):
    """The checks of one task, or of one of its variants."""

    def run(self) -> Awaitable[list[Check]]: ...


def _clip(bench: Bench, loader: Loader, samples: Samples) -> Iterator[tuple[str, Checks]]:
    for backend in chosen_backends(loader):
        yield f"smart search ({backend.name})", ClipChecks(bench, loader, backend, samples)


def _faces(bench: Bench, loader: Loader, samples: Samples) -> Iterator[tuple[str, Checks]]:
    yield "faces", FaceChecks(bench, loader, samples)


def _ocr(bench: Bench, loader: Loader, samples: Samples) -> Iterator[tuple[str, Checks]]:
    for model in chosen_models(loader):
        yield service_label("text", model.detection.variant), OcrChecks(bench, loader, model, samples)


CHECKS: dict[str, Callable[[Bench, Loader, Samples], Iterator[tuple[str, Checks]]]] = {
    CLIP.name: _clip,
    FACES.name: _faces,
    OCR.name: _ocr,
}
"""Each yields a description and the checks."""


class _None:
    """In place of the checks of a task that has none."""

    def __init__(self, task: Task[Any, Any]) -> None:
        self._name = task.short

    async def run(self) -> list[Check]:
        gap = Gap("nobody has written a check of this task", "Its answers are served unchecked; look at some yourself.")
        return [Check(self._name, gap=gap)]


def checks_of(task: Task[Any, Any], bench: Bench, loader: Loader, samples: Samples) -> Iterator[tuple[str, Checks]]:
    """Descriptions and checks of a task; for one that has none, a check that says so."""
    if task.name in CHECKS:
        yield from CHECKS[task.name](bench, loader, samples)
    else:
        yield task.short, _None(task)
