"""One service, or the reason why it is off."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ml_target.catalogue.networks import service_label
from ml_target.errors import TaskOff, WorkerError
from ml_target.scheduling.model import Model

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Service(Generic[T]):
    """A task, or one of its parts: `get()` returns what serves, `why_off` says why nothing does.

    `name`: its name in requests, the log and the status page; `variant`: which one of several of that name.
    `never`: why it could not be loaded; `broken`: something is wrong with it, not just missing. A service
    that was loaded goes off, and on again, while the answers of one of its models cannot be trusted.
    """

    name: str
    serves: T | None = None
    models: tuple[Model, ...] = ()
    never: WorkerError | None = None
    broken: bool = False
    variant: str = ""

    @property
    def label(self) -> str:
        return service_label(self.name, self.variant)

    @property
    def on(self) -> bool:
        return self.serves is not None and not self.why_off

    @property
    def off(self) -> WorkerError | None:
        """Why it is off, with the remedy; None while it is on. May change at any time."""
        doubted = (
            TaskOff(f"{model.network.name}: {doubt.reason}", doubt.remedy)
            for model in self.models
            if (doubt := model.doubt())
        )
        return self.never or next(doubted, None)

    @property
    def why_off(self) -> str:
        """The same in words; "" while it is on."""
        return str(self.off or "")

    @property
    def fault(self) -> bool:
        """Whether it is off because something is wrong, not because a file was never there."""
        return self.broken or bool(self.why_off and not self.never)

    def get(self) -> T:
        """What serves. Raises TaskOff when it is off."""
        if self.serves is None or self.off:
            raise self.refusal()
        return self.serves

    def refusal(self) -> TaskOff:
        """The error for whoever asks while it is off."""
        off = self.off or TaskOff("it came back only now", "Ask again.")
        return TaskOff(f"{self.label} is off: {off.reason}", off.remedy, separator=off.separator)

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
