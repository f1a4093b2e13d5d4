"""What this worker can serve: every task either on, with its provenance, or off, with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ml_target.catalogue.immich import WIDTHS, clean_name
from ml_target.catalogue.types import ClipBackend
from ml_target.errors import Unavailable, UnusableInput, WorkerError
from ml_target.log.words import short
from ml_target.scheduling.model import Model
from ml_target.tasks.clip.encoders import PictureEncoder, TextEncoder
from ml_target.tasks.faces.finder import FaceFinder
from ml_target.tasks.ocr.reader import TextReader

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Service(Generic[T]):
    """One task: `get()` it, or learn in words why it is off.

    `never`: why it could not be loaded; `broken`: something is wrong with it, not just missing. A task
    that was loaded goes off, and on again, while the answers of one of its models cannot be believed.
    """

    label: str
    serves: T | None = None
    models: tuple[Model, ...] = ()
    never: WorkerError | None = None
    broken: bool = False

    @property
    def on(self) -> bool:
        return self.serves is not None and not self.why_off

    @property
    def why_off(self) -> str:
        """In words, with the remedy; "" while it is on. May change at any time."""
        doubted = (f"{model.network.name}: {doubt}" for model in self.models if (doubt := model.doubt()))
        return str(self.never) if self.never else next(doubted, "")

    @property
    def fault(self) -> bool:
        """Whether it is off because something is wrong, not because a file was never there."""
        return self.broken or bool(self.why_off and not self.never)

    def get(self) -> T:
        """Raises Unavailable when the task is off."""
        if self.serves is None or self.why_off:
            raise Unavailable(f"{self.label} is off: {self.why_off}")
        return self.serves

    def describe(self) -> dict[str, Any]:
        """For the log and the status page."""
        if not self.on:
            return {"on": False, "why": self.why_off, "fault": self.fault}
        return {"on": True, "networks": [describe_model(model) for model in self.models]}


def describe_model(model: Model) -> dict[str, Any]:
    """Network, engine, file, hash, vector space and any note of one model."""
    described: dict[str, Any] = {
        "network": model.network.name,
        "stage": model.network.stage,
        "engine": model.provenance.engine,
        "file": model.provenance.file,
        "sha256": model.provenance.sha256,
    }
    if model.network.space:
        described["space"] = model.network.space
        described["width"] = next(shape[-1] for shape in model.loaded.roles.values())
    if model.provenance.note:
        described["note"] = model.provenance.note
    return described


@dataclass(frozen=True, slots=True)
class ClipService:
    """Both towers of one backend; either may be off."""

    backend: ClipBackend
    visual: Service[PictureEncoder]
    textual: Service[TextEncoder]


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that is served. `clip` by backend name, the default first."""

    clip: Mapping[str, ClipService]
    faces: Service[FaceFinder]
    ocr: Service[TextReader]
    by_name: bool = field(default=False)
    """CLIP_BACKEND=auto: the name asked for picks the backend."""

    def clip_for(self, model_name: str) -> ClipService:
        """The backend that answers for an Immich model name.

        Raises UnusableInput when the name's known width differs from the vectors served: Immich's
        column has that name's width, so it could only fail to store them.
        """
        name = clean_name(model_name)
        width = WIDTHS.get(name)
        chosen = next(iter(self.clip.values()))
        if self.by_name:
            named = [s for s in self.clip.values() if clean_name(s.backend.immich_name) == name]
            narrow = [s for s in self.clip.values() if s.backend.width == width and s.backend.hides_behind]
            chosen = (named or narrow or [chosen])[0]
        if width is not None and width != chosen.backend.width:
            names = " or ".join(f"{s.backend.immich_name} ({s.backend.name})" for s in self.clip.values())
            raise UnusableInput(
                f"Immich asks for {short(name)}, whose vectors have {width} numbers; this worker serves "
                f"{chosen.backend.name} with {chosen.backend.width}",
                f"Choose {names} in Immich's smart search settings, or start the worker with another CLIP_BACKEND.",
            )
        return chosen

    @property
    def any_on(self) -> bool:
        """Whether anything is served now."""
        return any(service.on for service in self.all().values())

    def all(self) -> dict[str, Service[Any]]:
        """Every service by its label; with several backends the label carries the backend."""
        named: dict[str, Service[Any]] = {}
        for index, (name, service) in enumerate(self.clip.items()):
            suffix = "" if index == 0 else f"@{name}"
            named[f"clip.visual{suffix}"] = service.visual
            named[f"clip.textual{suffix}"] = service.textual
        return {**named, "facial-recognition": self.faces, "ocr": self.ocr}
