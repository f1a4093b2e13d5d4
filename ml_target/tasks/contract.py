"""What a task is: the contract that the worker uses, instead of deciding by a task's name.

To add one: its networks in `catalogue/networks.py`, a package beside this module with a class that implements
`Task`, a line in `register.py`, and one with its checks in `diagnostics/checks/register.py`. Tasks know nothing of each
other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel

from ml_target.catalogue.networks import short_name
from ml_target.catalogue.types import ModelFile, Network
from ml_target.config import Settings
from ml_target.engines import Engine
from ml_target.log.trace import Trace
from ml_target.scheduling.model import Model
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.service import Service
from ml_target.tensors import UInt8

T = TypeVar("T")
Entry = TypeVar("Entry", bound=BaseModel)
Result = TypeVar("Result")

MIB = 2**20


class Loading(Protocol):
    """What a task is loaded with. Texts may run on another engine than pictures."""

    @property
    def settings(self) -> Settings: ...

    @property
    def pool(self) -> ThreadPool: ...

    @property
    def folder(self) -> Path:
        """Where results about a file may be kept."""

    def engine(self, network: Network) -> Engine:
        """The engine that runs this network."""

    def has(self, network: Network) -> bool:
        """Whether its engine has a file for it, intact or not."""

    def file(self, file: ModelFile) -> Path:
        """A vocabulary, dictionary or weights. Raises MissingFileError, DamagedFileError."""

    def network_file(self, network: Network, engine: Engine) -> Path:
        """The file of a network for any engine. Raises as `file` does."""

    def model(self, network: Network, *, interactive: bool = False) -> Model:
        """The network, opened. Raises as `file` does, and ModelError for another network."""


@dataclass(frozen=True, slots=True)
class Offer(Generic[T]):
    """A service that can be loaded: its networks, which say what it is called and which files it needs."""

    networks: tuple[Network, ...]
    load: Callable[[Loading], tuple[T, tuple[Model, ...]]]
    """What serves, and its models, the first to run first. Raises as `Loading` does."""

    @property
    def name(self) -> str:
        return self.networks[0].service or self.networks[0].task

    @property
    def variant(self) -> str:
        return self.networks[0].variant

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """Files that it cannot do without, besides the networks' own."""
        return tuple(file for network in self.networks for file in network.companions)


@dataclass(frozen=True, slots=True)
class ImmichSetting:
    """What to type into Immich: a field of its settings and the value. `note`: what to know of it; "" for nothing."""

    field: str
    value: str
    note: str = ""

    @property
    def text(self) -> str:
        """Value and note in one line, for people."""
        return f"{self.value} {self.note}".rstrip()


@dataclass(frozen=True, slots=True)
class Job:
    """What one request asks of one task.

    `service`: the name of the service that is to answer. `options`: the request's options, as the task parsed them.
    `takes_text`: whether its input is a text; otherwise a picture. `shown`: whether the answer is drawn for people,
    with what Immich's format has no place for.
    """

    task: "Task[Any, Any]"
    service: str
    model_name: str
    options: Any = None
    takes_text: bool = False
    shown: bool = False


@dataclass(frozen=True, slots=True)
class Steps(Generic[Result]):
    """A picture's way through a task in two steps.

    `prepare`: makes of H x W x 3 uint8 RGB all that is needed of it. `finish`: the result of that, as `Task.run` gives
    it.
    """

    prepare: Callable[[UInt8], Any]
    finish: Callable[[Any, Trace], Coroutine[Any, Any, Result]]


class Task(ABC, Generic[Entry, Result]):
    """One task. `name`: its key in a request's `entries` and in the answer; `entry`: what that key holds.

    `text_types`: the keys of an entry that take a text, not a picture. `answer`: what the key holds in the answer, as
    JSON Schema; {} allows anything. Both are for `/openapi.json`. `renaming`: what Immich does to a library where the
    model's name is changed in its settings, in words for people; "" for nothing.
    """

    name: str
    entry: type[Entry]
    text_types: ClassVar[Sequence[str]] = ()
    renaming: ClassVar[str] = ""
    answer: ClassVar[Mapping[str, Any]] = {}

    @property
    def short(self) -> str:
        """Its name in commands."""
        return short_name(self.name)

    # ------------------------------------------------------------------ start

    @abstractmethod
    def offers(self, loading: Loading) -> Sequence[Offer[Any]]:
        """What can be served with these settings; of several variants the default first."""

    # ---------------------------------------------------------------- request

    @abstractmethod
    def jobs(self, entry: Entry) -> Sequence[Job]:
        """The jobs of one request. Raises MalformedRequest, UnusableInput."""

    @abstractmethod
    def plain_job(self) -> Job:
        """The job of a picture with the options that an entry has by default and no model's name, for `predict`."""

    def pick(self, job: Job, services: Sequence[Service[Any]]) -> Service[Any]:
        """The service that answers, of those of this task. Raises UnusableInput where none of them may."""
        return next(service for service in services if service.name == job.service)

    def served_by(self, job: Job, service: Service[Any]) -> str:
        """The name of the model that answers. Raises UnusableInput where it must not answer for the model asked for."""
        return " + ".join(model.network.name for model in service.models)

    @abstractmethod
    def memory(self, pixels: int) -> int:
        """Bytes that it needs besides a picture of `pixels` pixels."""

    def enough(self, serves: Any) -> int | None:
        """Pixels of the shorter side from which on a picture decoded at half its size will do; None: none will."""
        return None

    def steps(self, job: Job, serves: Any) -> Steps[Result] | None:
        """The two steps that take the place of `run` where no other task wants the picture; None: it needs all of it.

        The thread that has decoded the picture takes the first one, which counts as stage `prepare`.
        """
        return None

    @abstractmethod
    async def run(self, job: Job, serves: Any, content: Any, trace: Trace) -> Result:
        """The result. `content`: H x W x 3 uint8 RGB, or the text. Raises EngineFault, Unavailable."""

    @abstractmethod
    def encode(self, result: Result) -> Any:
        """The result as it stands in the answer, ready for JSON."""

    def show(self, result: Result) -> Any:
        """The same for a page that draws it, with what belongs into the drawing besides."""
        return self.encode(result)

    # ------------------------------------------------------------ for people

    @abstractmethod
    def labels(self, service: Service[Any]) -> tuple[str, str]:
        """For the summary at start: a label for the service, and one for what serves it."""

    def immich_setting(self, service: Service[Any]) -> ImmichSetting | None:
        """What to type into Immich where this service is on; None where another one of its task says it."""
        return None

    def status(self, services: Sequence[Service[Any]]) -> Mapping[str, Any]:
        """What the status page says besides the services themselves."""
        return {}
