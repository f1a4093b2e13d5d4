"""The task of smart search: two services, one for pictures and one for texts, of every backend."""

from collections.abc import Sequence
from typing import Any

from pydantic import ConfigDict

from ml_target.catalogue.immich import KEEP_THE_NAME, WIDTHS
from ml_target.catalogue.needs import names_there
from ml_target.catalogue.networks import CLIP_BACKENDS, for_new_libraries
from ml_target.catalogue.types import ClipBackend
from ml_target.errors import MalformedRequest
from ml_target.imaging.structure import CORE
from ml_target.log.trace import Trace
from ml_target.scheduling.model import Model
from ml_target.tasks.clip.encoders import PictureEncoder, TextEncoder
from ml_target.tasks.clip.names import backend_for
from ml_target.tasks.clip.text_tower import open_text_encoder
from ml_target.tasks.contract import MIB, ImmichSetting, Job, Loading, Offer, Steps, Task
from ml_target.tasks.service import Service
from ml_target.tasks.wire import VECTOR_TEXT, ModelEntry, Strict, vector_text
from ml_target.tensors import Float32

VISUAL, TEXTUAL = "clip.visual", "clip.textual"

WORKING_SET = 2 * MIB
"""Bytes for frames that wait."""


class _Entry(Strict):
    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})
    visual: ModelEntry | None = None
    textual: ModelEntry | None = None


def chosen_backends(loading: Loading) -> list[ClipBackend]:
    """The backends that the settings ask for, the first of them first. Raises SettingsError."""
    return [CLIP_BACKENDS[name] for name in names_there("clip_backend", loading.settings.clip_backend, loading.has)]


class ClipTask(Task[_Entry, Float32]):
    """One vector: of the picture (`visual`) or of the text (`textual`)."""

    name = "clip"
    entry = _Entry
    text_types = ("textual",)
    renaming = KEEP_THE_NAME
    answer = VECTOR_TEXT

    def offers(self, loading: Loading) -> list[Offer[Any]]:
        return [
            offer for backend in chosen_backends(loading) for offer in (self.pictures(backend), self.texts(backend))
        ]

    def pictures(self, backend: ClipBackend) -> Offer[PictureEncoder]:
        """The picture tower of a backend."""

        def load(loading: Loading) -> tuple[PictureEncoder, tuple[Model, ...]]:
            model = loading.model(backend.visual)
            resize = loading.settings.siglip_resize if backend.resize_by_setting else backend.resize
            return PictureEncoder(model, loading.pool, resize, loading.settings.clip_decoding), (model,)

        return Offer((backend.visual,), load)

    def texts(self, backend: ClipBackend) -> Offer[TextEncoder]:
        """The text tower of a backend, with tokenizer and weights."""
        return Offer((backend.textual,), lambda loading: open_text_encoder(backend, loading))

    def jobs(self, entry: _Entry) -> list[Job]:
        if entry.visual and entry.textual:
            raise MalformedRequest("clip has one result a request", "Ask for visual or for textual, not for both.")
        if entry.visual:
            return [Job(self, VISUAL, entry.visual.modelName)]
        return [Job(self, TEXTUAL, entry.textual.modelName, takes_text=True)] if entry.textual else []

    def plain_job(self) -> Job:
        return Job(self, VISUAL, "")

    def pick(self, job: Job, services: Sequence[Service[Any]]) -> Service[Any]:
        stage = {service.variant: service for service in services if service.name == job.service}
        return stage[backend_for(job.model_name, [CLIP_BACKENDS[name] for name in stage]).name]

    def served_by(self, job: Job, service: Service[Any]) -> str:
        backend = CLIP_BACKENDS[service.variant]
        return backend.name if backend.borrows_name else backend.immich_name

    def memory(self, pixels: int) -> int:
        """The whole picture is transposed, or becomes one of Pillow's."""
        return CORE * pixels + WORKING_SET

    def enough(self, serves: PictureEncoder) -> int | None:
        return serves.enough

    def steps(self, job: Job, serves: PictureEncoder) -> Steps[Float32] | None:
        return serves.steps

    async def run(self, job: Job, serves: PictureEncoder | TextEncoder, content: Any, trace: Trace) -> Float32:
        return await serves.embed(content, trace)

    def encode(self, result: Float32) -> str:
        return vector_text(result)

    def labels(self, service: Service[Any]) -> tuple[str, str]:
        backend = CLIP_BACKENDS[service.variant]
        if service.name == VISUAL:
            return "search", f"{backend.name}, {backend.width} numbers"
        return "queries", backend.name

    def immich_setting(self, service: Service[Any]) -> ImmichSetting | None:
        if service.name != VISUAL:
            return None
        backend = CLIP_BACKENDS[service.variant]
        if not backend.borrows_name:
            return ImmichSetting("CLIP model", backend.immich_name)
        note = f"(hides TinyCLIP: keep other workers off). {for_new_libraries(backend)}"
        return ImmichSetting("CLIP model", backend.immich_name, note)

    def status(self, services: Sequence[Service[Any]]) -> dict[str, Any]:
        """Each vector space, and the names of Immich's models that have its width."""
        return {"clip": [_space(service) for service in services if service.name == VISUAL]}


def _space(service: Service[Any]) -> dict[str, Any]:
    backend = CLIP_BACKENDS[service.variant]
    return {
        "space": backend.name,
        "width": backend.width,
        "on": service.on,
        "immich_name": backend.immich_name,
        "names_of_this_width": [name for name, width in WIDTHS.items() if width == backend.width],
        "recommended_name": backend.new_library_name or backend.immich_name,
        "why": for_new_libraries(backend) if backend.borrows_name else "It is this model's own name in Immich.",
    }


CLIP = ClipTask()
