"""Everything that can go wrong, as a closed set.

Each error says what is wrong (`reason`) and what to do about it (`remedy`); `str()` is both, for whoever meets it.
The table from these classes to HTTP status codes is in `api/app.py` alone.
"""

from typing import ClassVar


class WorkerError(Exception):
    """Base of every error this project raises on purpose.

    `reason`: what is wrong, without a full stop. `remedy`: what to do about it, as it is to be read: with a full stop,
    or without one where it ends in a command. Where it is "" the reason is all there is. `cause`: the reason in a few
    words, for where there is no room for more; "" where nobody needs it.
    """

    joint: ClassVar[str] = ". "
    cause: str = ""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason}{self.joint}{remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy


class MalformedRequest(WorkerError):
    """The request does not have Immich's form: bad JSON, unknown task, wrong option type."""


class UnusableInput(WorkerError):
    """The form is right but the input is not: no picture, not a picture, wrong vector width."""


class TooLarge(WorkerError):
    """The upload or the decoded picture exceeds a limit."""


class TooSlow(WorkerError):
    """The upload stopped coming."""


class Unavailable(WorkerError):
    """The task cannot be served now: model missing, deadline passed, queue full, device lost."""


class EngineFault(WorkerError):
    """An engine failed on a frame that it should have been able to run."""


class BurstLost(EngineFault):
    """The device lost a burst through no fault of its frames; they may go again once it is back."""


class DeviceError(EngineFault):
    """The accelerator cannot be opened or configured now; the remedy says what to look at."""


EXIT_HUNG = 70
"""Exit status of a process that leaves because the accelerator hangs; the container manager restarts it."""


class CardHangs(DeviceError):
    """A call into the accelerator's library does not come back: only leaving the process frees the device."""


class SettingsError(WorkerError):
    """A setting has a bad value; the message names it and lists the valid ones."""


class ModelError(WorkerError):
    """A model file is not what the catalogue says it is: whole, but another network. The worker does not start."""


class MissingFileError(ModelError):
    """A file that a task needs is not there; that task is off."""

    joint = ": "

    def __init__(self, reason: str, remedy: str, cause: str) -> None:
        super().__init__(reason, remedy)
        self.cause = cause


class DamagedFileError(ModelError):
    """A file that is no good to anybody: cut, changed, unreadable, something else in its place. Its task is off.

    `reason` names the file. `first`: what to do before the file is fetched again; None
    where the remedy is another one. `remedies.damaged` makes those that are to be fetched again.
    """

    def __init__(
        self, reason: str, remedy: str, cause: str = "a model file is damaged", first: str | None = None
    ) -> None:
        super().__init__(reason, remedy)
        self.cause = cause
        self.first = first


class FetchError(ModelError):
    """A model file could not be fetched from any of its sources."""
