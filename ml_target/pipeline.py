"""One request: decode the picture once, run its tasks together, put the answer together."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from ml_target.errors import UnusableInput
from ml_target.host import HostPool
from ml_target.names import NamesSeen, text_model
from ml_target.preprocessing.picture import open_picture
from ml_target.protocol import ClipJob, FaceJob, Job, faces_result, ocr_result, vector_text
from ml_target.runtime.budget import Budget
from ml_target.services import Service, Services
from ml_target.tensors import UInt8
from ml_target.trace import Trace

DECODED_PIXELS = 64_000_000
"""Pixels held at a time, over all requests: 450 MB while they are decoded, 190 MB afterwards. A larger picture
runs alone."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Runs the jobs of a request on the services there are."""

    services: Services
    host: HostPool
    names: NamesSeen
    decoded: Budget
    max_pixels: int

    async def picture(self, jobs: list[Job], data: bytes | BinaryIO, trace: Trace) -> dict[str, Any]:
        """The answer for a picture. Raises UnusableInput, TooLarge, Unavailable, EngineFault."""
        for job in jobs:
            if isinstance(job, ClipJob) and job.stage == "textual":
                raise UnusableInput("clip.textual needs a text, but the request holds an image. Send a text part.")
            self._check(job)
        opened = await self.host.run(open_picture, data, self.max_pixels)
        trace.picture = (opened.width, opened.height)
        async with AsyncExitStack() as held:
            with self._coming(jobs):
                with trace.stage("wait"):
                    await held.enter_async_context(self.decoded.hold(opened.pixels))
                with trace.stage("decode"):
                    pixels = await self.host.run(opened.decode)
                # Started inside the block: they announce their own frames before it ends.
                results = asyncio.gather(*(self._job(job, pixels, trace) for job in jobs), return_exceptions=True)
            answer = _together(await results)
        return {**answer, "imageHeight": pixels.shape[0], "imageWidth": pixels.shape[1]}

    async def text(self, jobs: list[Job], text: str, trace: Trace) -> dict[str, Any]:
        """The answer for a search query. Raises UnusableInput, Unavailable, EngineFault."""
        for job in jobs:
            if not (isinstance(job, ClipJob) and job.stage == "textual"):
                raise UnusableInput(f"{job.label} needs a picture, but the request holds a text. Send an image part.")
            self._check(job)
        encoder = self.services.clip_for(jobs[0].model_name).textual.get()
        return {"clip": vector_text(await encoder.embed(text, trace))}

    def _check(self, job: Job) -> None:
        """Refuses what cannot be served before anything is decoded, and notes the name asked for."""
        service = self._service(job)
        service.get()
        if isinstance(job, ClipJob):
            backend = self.services.clip_for(job.model_name).backend
            served = backend.name if backend.hides_behind else backend.immich_name
        elif isinstance(job, FaceJob):
            served = " + ".join(model.network.name for model in service.models)
        else:
            served = text_model(job.model_name)
        self.names.note(job.label, job.model_name, served)

    @contextmanager
    def _coming(self, jobs: list[Job]) -> Iterator[None]:
        """Announces a frame to the first model of every job."""
        with ExitStack() as announced:
            for job in jobs:
                for model in self._service(job).models[:1]:
                    announced.enter_context(model.coming())
            yield

    def _service(self, job: Job) -> Service[Any]:
        if isinstance(job, ClipJob):
            chosen = self.services.clip_for(job.model_name)
            return chosen.visual if job.stage == "visual" else chosen.textual
        return self.services.faces if isinstance(job, FaceJob) else self.services.ocr

    async def _job(self, job: Job, pixels: UInt8, trace: Trace) -> dict[str, Any]:
        if isinstance(job, ClipJob):
            vector = await self.services.clip_for(job.model_name).visual.get().embed(pixels, trace)
            return {"clip": vector_text(vector)}
        if isinstance(job, FaceJob):
            return {job.label: faces_result(await self.services.faces.get().find(pixels, job.min_score, trace))}
        return {job.label: ocr_result(await self.services.ocr.get().read(pixels, job.options, trace))}


def _together(results: list[dict[str, Any] | BaseException]) -> dict[str, Any]:
    """All jobs have ended; the first failure among them is the answer's."""
    answer: dict[str, Any] = {}
    for result in results:
        if isinstance(result, BaseException):
            raise result
        answer.update(result)
    return answer
