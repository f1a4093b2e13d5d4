"""What this worker can serve: every task with its services."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml_target.tasks.contract import Job
from ml_target.tasks.service import Service


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that is served. `of`: the services of a task by its name; of several variants the default first."""

    of: Mapping[str, Sequence[Service[Any]]]

    def for_job(self, job: Job) -> Service[Any]:
        """The service that answers. Raises UnusableInput where none of them may."""
        return job.task.pick(job, self.of[job.task.name])

    @property
    def any_on(self) -> bool:
        """Whether anything is served now."""
        return any(service.on for service in self.all().values())

    def all(self) -> dict[str, Service[Any]]:
        """Every service by its name; of several variants all but the first carry theirs."""
        named: dict[str, Service[Any]] = {}
        for service in (each for services in self.of.values() for each in services):
            named[f"{service.name}@{service.variant}" if service.name in named else service.name] = service
        return named
