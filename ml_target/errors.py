"""Everything that can go wrong, as a closed set.

Each error says what is wrong (`reason`) and what to do about it (`remedy`); `str()` gives both.
Only `api/predict.py` maps these classes to HTTP status codes.
"""

from typing import Any, ClassVar, Literal, get_args

Reason = Literal[
    "malformed",
    "unusable",
    "another_site",
    "too_large",
    "too_slow",
    "unavailable",
    "task_off",
    "full",
    "late",
    "stopping",
    "device_lost",
    "engine_fault",
    "model_error",
    "client_gone",
    "no_memory",
    "internal",
]
"""Why a request is refused or fails, for the page and for monitoring; the last three are no errors of this module."""

REASONS: tuple[Reason, ...] = get_args(Reason)


class WorkerError(Exception):
    """Base of every error this project raises on purpose.

    `reason`: what is wrong, without a full stop. `remedy`: what to do about it, with its full stop, or without one
    where it ends in a command; may be "". `separator`: what stands between the two; an error that takes over another's
    remedy takes over this as well. `cause`: a short form of the reason, for where space is tight; may be "".
    `kind`: what monitoring counts it as.
    """

    kind: ClassVar[Reason] = "internal"
    separator: str = ". "
    cause: str = ""

    def __init__(self, reason: str, remedy: str = "", *, separator: str | None = None) -> None:
        if separator is not None:
            self.separator = separator
        super().__init__(f"{reason}{self.separator}{remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        """For copies and pickles: an exception would otherwise be made again from its text alone."""
        return _again, (type(self), *self.args), vars(self)


def _again(kind: type[WorkerError], *args: object) -> WorkerError:
    return kind.__new__(kind, *args)


class MalformedRequest(WorkerError):
    """The request is not in Immich's format: bad JSON, unknown task, wrong option type."""

    kind: ClassVar[Reason] = "malformed"


class UnusableInput(WorkerError):
    """The format is right but the input is not: no picture, not a picture, wrong vector width."""

    kind: ClassVar[Reason] = "unusable"


class AnotherSite(WorkerError):
    """A browser asks for a page that is not the worker's own, or may not be."""

    kind: ClassVar[Reason] = "another_site"


class TooLarge(WorkerError):
    """The upload or the decoded picture exceeds a limit."""

    kind: ClassVar[Reason] = "too_large"


class TooSlow(WorkerError):
    """The upload stopped coming."""

    kind: ClassVar[Reason] = "too_slow"


class Unavailable(WorkerError):
    """The task cannot be served now: model missing, deadline passed, queue full, device lost."""

    kind: ClassVar[Reason] = "unavailable"


class TaskOff(Unavailable):
    """The task is off: its files are not there, or its answers cannot be trusted."""

    kind: ClassVar[Reason] = "task_off"


class Full(Unavailable):
    """As many requests wait as may."""

    kind: ClassVar[Reason] = "full"


class Late(Unavailable):
    """The request was not answered within its time."""

    kind: ClassVar[Reason] = "late"


class Stopping(Unavailable):
    """The worker stops before the request is done."""

    kind: ClassVar[Reason] = "stopping"


class DeviceLost(Unavailable):
    """The device is lost for good, or lost the same frame twice."""

    kind: ClassVar[Reason] = "device_lost"


class EngineFault(WorkerError):
    """An engine failed on a frame that it should have been able to run."""

    kind: ClassVar[Reason] = "engine_fault"


class BurstLost(EngineFault):
    """The device lost a burst through no fault of its frames; they may be sent again once it is back."""


class DeviceError(EngineFault):
    """The accelerator cannot be opened or configured now; the remedy says what to check."""


EXIT_HUNG = 70
"""Exit status of a process that exits because the accelerator hangs; the container manager restarts it."""


class CardHangs(DeviceError):
    """A call into the accelerator's library does not return: only ending the process frees the device."""


class SettingsError(WorkerError):
    """A setting has a bad value; the message names it and lists the valid ones."""


class ModelError(WorkerError):
    """A model file is not what the catalogue says it is: intact, but a different network. The worker does not start."""

    kind: ClassVar[Reason] = "model_error"


class MissingFileError(ModelError):
    """A file that a task needs is not there; that task is off."""

    separator = ": "

    def __init__(self, reason: str, remedy: str, cause: str) -> None:
        super().__init__(reason, remedy)
        self.cause = cause


class DamagedFileError(ModelError):
    """A file that cannot be used: truncated, changed, unreadable, or something else in its place. Its task is off.

    `reason` names the file. `first`: what to do before the file is fetched again; None where fetching it again is not
    the remedy. `remedies.damaged` makes the errors whose remedy is to fetch again.
    """

    def __init__(
        self, reason: str, remedy: str, cause: str = "a model file is damaged", first: str | None = None
    ) -> None:
        super().__init__(reason, remedy)
        self.cause = cause
        self.first = first


class FetchError(ModelError):
    """A model file could not be fetched from any of its sources."""
