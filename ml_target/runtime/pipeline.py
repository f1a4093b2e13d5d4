"""One request: decode the picture once, run its tasks together, put the answer together."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from ml_target.errors import UnusableInput
from ml_target.log.trace import Trace
from ml_target.runtime.decoding import Answering, Decoder
from ml_target.runtime.names_seen import NamesSeen
from ml_target.runtime.registry import Services
from ml_target.tasks.contract import Job
from ml_target.tasks.service import Service


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Runs the jobs of a request on the services that are loaded."""

    services: Services
    names: NamesSeen
    decoder: Decoder

    async def picture(self, jobs: list[Job], data: bytes | BinaryIO, trace: Trace) -> dict[str, Any]:
        """The answer for a picture. Closes its file as soon as it is decoded, to free the memory.

        Raises UnusableInput, TooLarge, Unavailable, EngineFault.
        """
        with io.BytesIO(data) if isinstance(data, bytes) else data as upload:
            return await self._picture(jobs, upload, trace)

    async def _picture(self, jobs: list[Job], upload: BinaryIO, trace: Trace) -> dict[str, Any]:
        answering = self._answering(jobs, trace, text=False)
        async with AsyncExitStack() as held:
            with _coming(answering):
                picture = await self.decoder.decoded(answering, upload, held, trace)
                parts = list(_run(answering, picture.content, trace, picture.finish))
                # Several are started inside the block, to announce their own frames before it is looked what to send.
                running = asyncio.gather(*parts, return_exceptions=True) if len(parts) > 1 else None
            # One is no task of its own, and goes on at once.
            answer = await parts[0] if running is None else _together(await running)
        return {**answer, "imageHeight": picture.height, "imageWidth": picture.width}

    async def text(self, jobs: list[Job], text: str, trace: Trace) -> dict[str, Any]:
        """The answer for a search query. Raises UnusableInput, Unavailable, EngineFault."""
        answering = self._answering(jobs, trace, text=True)
        parts = list(_run(answering, text, trace))
        if len(parts) == 1:  # as always, so far: no task of its own
            return await parts[0]
        return _together(await asyncio.gather(*parts, return_exceptions=True))

    def _answering(self, jobs: list[Job], trace: Trace, *, text: bool) -> Answering:
        """Refuses what cannot be served before anything is decoded; notes the names asked for and the engines."""
        answering = []
        for job in jobs:
            if job.takes_text and not text:
                raise UnusableInput(f"{job.service} needs a text, but the request holds an image", "Send a text part.")
            if text and not job.takes_text:
                raise UnusableInput(
                    f"{job.service} needs a picture, but the request holds a text", "Send an image part."
                )
            try:
                service = self.services.for_job(job)
                service.get()
                served_by = job.task.served_by(job, service)
            except UnusableInput as error:
                self.names.refuse(job.service, job.model_name, str(error))
                raise
            self.names.note(job.service, job.model_name, served_by)
            answering.append((job, service))
        engines = (model.provenance.engine for _, service in answering for model in service.models)
        trace.engines = list(dict.fromkeys(engines))
        return answering


@contextmanager
def _coming(answering: Answering) -> Iterator[None]:
    """Announces a frame to the first model of every job, and what will come of it to the others."""
    with ExitStack() as announced:
        for _, service in answering:
            for n, model in enumerate(service.models):
                announced.enter_context(model.coming(None if n else 1))
        yield


def _run(
    answering: Answering, content: Any, trace: Trace, finish: Callable[[Any, Trace], Awaitable[Any]] | None = None
) -> Iterator[Awaitable[dict[str, Any]]]:
    """Each job's part of the answer. `finish`: what is left of the only one, where its picture is prepared already."""

    async def part(job: Job, service: Service[Any]) -> dict[str, Any]:
        running = job.task.run(job, service.get(), content, trace) if finish is None else finish(content, trace)
        result = await running
        return {job.task.name: job.task.show(result) if job.shown else job.task.encode(result)}

    return (part(job, service) for job, service in answering)


def _together(results: list[dict[str, Any] | BaseException]) -> dict[str, Any]:
    """One answer from the results of all jobs. Raises the first failure among them."""
    answer: dict[str, Any] = {}
    for result in results:
        if isinstance(result, BaseException):
            raise result
        answer.update(result)
    return answer
