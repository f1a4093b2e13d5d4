"""One request: decode the picture once, run its tasks together, put the answer together."""

import asyncio
import io
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from ml_target.errors import TooLarge, UnusableInput
from ml_target.imaging.forms import look
from ml_target.imaging.outside import Helper
from ml_target.imaging.picture import decode_known
from ml_target.imaging.structure import CORE, PIXEL, Structure
from ml_target.log.trace import Trace
from ml_target.runtime.asked_names import NamesSeen, text_model
from ml_target.runtime.budget import MIB, Memory, Share
from ml_target.runtime.protocol import ClipJob, FaceJob, Job, faces_result, ocr_result, vector_text
from ml_target.runtime.registry import Service, Services
from ml_target.scheduling.threads import HostPool
from ml_target.tensors import UInt8

CLIP, FACES, OCR = 2 * MIB, 8 * MIB, 48 * MIB
"""Bytes that a task takes beside the picture: frames that wait, outputs that are read. Text has by far the most: 16
tiles, and 5120 columns of probabilities (`tasks.ocr.read.CHUNK`)."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Runs the jobs of a request on the services there are."""

    services: Services
    host: HostPool
    names: NamesSeen
    memory: Memory
    helper: Helper
    max_pixels: int

    async def picture(self, jobs: list[Job], data: bytes | BinaryIO, trace: Trace) -> dict[str, Any]:
        """The answer for a picture, whose file is closed: its memory is not needed any more.

        Raises UnusableInput, TooLarge, Unavailable, EngineFault.
        """
        with io.BytesIO(data) if isinstance(data, bytes) else data as upload:
            return await self._picture(jobs, upload, trace)

    async def _picture(self, jobs: list[Job], upload: BinaryIO, trace: Trace) -> dict[str, Any]:
        for job in jobs:
            if isinstance(job, ClipJob) and job.stage == "textual":
                raise UnusableInput("clip.textual needs a text, but the request holds an image", "Send a text part.")
            self._check(job)
        structure = await self.host.run(look, upload, self.max_pixels)
        trace.picture = (structure.width, structure.height)
        async with AsyncExitStack() as held:
            with self._coming(jobs):
                pixels, share = await self._decoded(jobs, upload, structure, held, trace)
                upload.close()
                share.shrink(_with_tasks(jobs, structure))
                trace.picture = (pixels.shape[1], pixels.shape[0])
                # Started inside the block: they announce their own frames before it ends.
                results = asyncio.gather(*(self._job(job, pixels, trace) for job in jobs), return_exceptions=True)
            answer = _together(await results)
        return {**answer, "imageHeight": pixels.shape[0], "imageWidth": pixels.shape[1]}

    async def _decoded(
        self, jobs: list[Job], upload: BinaryIO, structure: Structure, held: AsyncExitStack, trace: Trace
    ) -> tuple[UInt8, Share]:
        """The pixels, and the share of memory that `held` keeps for them.

        Ordinary pictures are decoded in a thread. The rest goes to the helper, one at a time and behind a wait of its
        own, so that no photo is ever behind it.
        """
        budget, size = self.memory.pictures, upload.seek(0, io.SEEK_END)
        ordinary = structure.ordinary and structure.cost <= budget.kept
        alone = structure.cost + (0 if ordinary else size)
        if alone > budget.largest:
            raise TooLarge(
                f"The picture ({structure.form}, {structure.width} x {structure.height}) takes {alone // MIB} MiB to "
                f"decode, and {budget.largest // MIB} MiB are there for one",
                f"Send a smaller one, or set MEMORY_MB to {self.memory.setting_for(alone)} or more if the machine has "
                "the memory.",
            )
        # Tasks of a picture this large do not all copy it: text detection first averages it down.
        amount = min(max(alone, _with_tasks(jobs, structure)), budget.largest)
        if ordinary:
            with trace.stage("wait"):
                share = await held.enter_async_context(budget.hold(amount))
            with trace.stage("decode"):
                return await self.host.run(decode_known, upload, structure), share
        async with AsyncExitStack() as turn:
            with trace.stage("wait"):
                await turn.enter_async_context(self.helper.turn(size))
                share = await held.enter_async_context(budget.hold(amount, patient=True))
            with trace.stage("decode"):
                pixels, milliseconds = await self.helper.decode(upload, structure)
            trace.count("helper_cpu_ms", milliseconds)
            return pixels, share

    async def text(self, jobs: list[Job], text: str, trace: Trace) -> dict[str, Any]:
        """The answer for a search query. Raises UnusableInput, Unavailable, EngineFault."""
        for job in jobs:
            if not (isinstance(job, ClipJob) and job.stage == "textual"):
                raise UnusableInput(f"{job.label} needs a picture, but the request holds a text", "Send an image part.")
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


def _with_tasks(jobs: list[Job], structure: Structure) -> int:
    """Bytes that the finished pixels take, and what the tasks make of them.

    CLIP and text make a picture of Pillow's of the whole, or of the largest line; faces take theirs from the pixels.
    """
    total = PIXEL * structure.pixels
    for job in jobs:
        if isinstance(job, FaceJob):
            total += FACES
        else:
            total += CORE * structure.pixels + (CLIP if isinstance(job, ClipJob) else OCR)
    return total


def _together(results: list[dict[str, Any] | BaseException]) -> dict[str, Any]:
    """All jobs have ended; the first failure among them is the answer's."""
    answer: dict[str, Any] = {}
    for result in results:
        if isinstance(result, BaseException):
            raise result
        answer.update(result)
    return answer
