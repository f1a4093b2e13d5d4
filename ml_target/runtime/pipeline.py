"""One request: decode the picture once, run its tasks together, put the answer together."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from ml_target.errors import TooLarge, UnusableInput
from ml_target.imaging.formats import probe, probe_at_once
from ml_target.imaging.outside import Helper
from ml_target.imaging.picture import decode_half, decode_known
from ml_target.imaging.structure import PIXEL, Structure
from ml_target.imaging.turbojpeg import halves
from ml_target.log.trace import Trace
from ml_target.runtime.budget import MIB, Memory, Share
from ml_target.runtime.names_seen import NamesSeen
from ml_target.runtime.registry import Services
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.contract import Job, Prepared
from ml_target.tasks.service import Service
from ml_target.tensors import UInt8

Decode = Callable[[BinaryIO, Structure], UInt8 | None]
"""Raises UnusableInput, Unavailable; None for a picture that another way has to decide about."""

Answering = Sequence[tuple[Job, Service[Any]]]
"""Each job of a request with the service that answers it."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """A decoded picture: its pixels, H x W x 3, or what the one task that asks needs of them, and their share of the
    memory. `pixels`: how many there are; `width`, `height`: of the file's own."""

    content: UInt8 | Prepared
    pixels: int
    width: int
    height: int
    share: Share

    @classmethod
    def whole(cls, pixels: UInt8, share: Share) -> "_Picture":
        height, width = pixels.shape[:2]
        return cls(pixels, height * width, width, height, share)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Runs the jobs of a request on the services that are loaded."""

    services: Services
    pool: ThreadPool
    names: NamesSeen
    memory: Memory
    helper: Helper
    max_pixels: int

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
                structure = probe_at_once(upload, self.max_pixels)
                if structure is None:
                    structure = await self.pool.run(probe, upload, self.max_pixels)
                trace.picture = (structure.width, structure.height)
                picture = await self._decoded(answering, upload, structure, held, trace)
                upload.close()
                picture.share.shrink(_with_tasks(answering, picture.pixels))
                trace.picture = (picture.width, picture.height)
                # Started inside the block: they announce their own frames before it ends.
                running = asyncio.gather(*_run(answering, picture.content, trace), return_exceptions=True)
            answer = _together(await running)
        return {**answer, "imageHeight": picture.height, "imageWidth": picture.width}

    async def _decoded(
        self, answering: Answering, upload: BinaryIO, structure: Structure, held: AsyncExitStack, trace: Trace
    ) -> _Picture:
        """The picture; `held` keeps its share of the memory.

        Ordinary pictures are decoded in a thread. The rest goes to the helper, one at a time and in a queue of its
        own, so that no photo ever waits behind it.
        """
        budget, size = self.memory.pictures, upload.seek(0, io.SEEK_END)
        ordinary = structure.ordinary and structure.cost <= budget.kept
        alone = structure.cost + (0 if ordinary else size)
        if alone > budget.largest:
            raise TooLarge(
                f"The picture ({structure.format}, {structure.width} x {structure.height}) takes {alone // MIB} MiB to "
                f"decode, and {budget.largest // MIB} MiB are there for one",
                f"Send a smaller one, or set MEMORY_MB to "
                f"{self.memory.setting_for(alone)} or more if the machine has the memory.",
            )
        # Not every task copies a picture this large: text detection first averages it down.
        amount = min(max(alone, _with_tasks(answering, structure.pixels)), budget.largest)
        if ordinary:
            with trace.stage("wait"):
                share = await held.enter_async_context(budget.hold(amount))
            if _does_with_half(answering, structure):
                picture = await self._begun(decode_half, answering, upload, structure, share, trace)
                if picture is not None:
                    trace.count("half_size", 1)
                    return replace(picture, width=structure.width, height=structure.height)
            picture = await self._begun(decode_known, answering, upload, structure, share, trace)
            assert picture is not None
            return picture
        async with AsyncExitStack() as turn:
            with trace.stage("wait"):
                await turn.enter_async_context(self.helper.turn(size))
                share = await held.enter_async_context(budget.hold(amount, patient=True))
            with trace.stage("decode"):
                pixels, milliseconds = await self.helper.decode(upload, structure)
            trace.count("helper_cpu_ms", milliseconds)
            return _Picture.whole(pixels, share)

    async def _begun(
        self, decode: Decode, answering: Answering, upload: BinaryIO, structure: Structure, share: Share, trace: Trace
    ) -> _Picture | None:
        """Decoded in a thread, and prepared there where one task alone asks; None where `decode` gives it up."""
        prepare = _prepares(answering)
        with trace.stage("decode"):
            if prepare is None:
                pixels = await self.pool.begin(decode, upload, structure)
                return None if pixels is None else _Picture.whole(pixels, share)
            done = await self.pool.begin(_decoded_and_prepared, decode, prepare, upload, structure)
        if done is None:
            return None
        content, (height, width), seconds = done
        trace.part(f"{answering[0][0].task.short}.prepare", "decode", seconds * 1000)
        return _Picture(content, 0, width, height, share)

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


def _prepares(answering: Answering) -> Callable[[UInt8], Any] | None:
    """What the thread that decodes the picture goes on with: of the one task that asks."""
    if len(answering) != 1:
        return None
    [(job, service)] = answering
    return job.task.prepares(service.get())


def _decoded_and_prepared(
    decode: Decode, prepare: Callable[[UInt8], Any], upload: BinaryIO, structure: Structure
) -> tuple[Prepared, tuple[int, int], float] | None:
    """What is needed of the picture, its height and width, and the seconds of preparing."""
    pixels = decode(upload, structure)
    if pixels is None:
        return None
    started = time.perf_counter()
    content = Prepared(prepare(pixels))
    return content, (pixels.shape[0], pixels.shape[1]), time.perf_counter() - started


def _run(answering: Answering, content: UInt8 | Prepared | str, trace: Trace) -> Iterator[Awaitable[dict[str, Any]]]:
    """Each job's part of the answer."""

    async def part(job: Job, service: Service[Any]) -> dict[str, Any]:
        result = await job.task.run(job, service.get(), content, trace)
        return {job.task.name: job.task.show(result) if job.shown else job.task.encode(result)}

    return (part(job, service) for job, service in answering)


def _does_with_half(answering: Answering, structure: Structure) -> bool:
    """Whether half the picture's size is enough for the one task that asks. Several share one picture, a whole one."""
    if len(answering) != 1:
        return False
    [(job, service)] = answering
    least = job.task.enough(service.get())
    return least is not None and halves(structure, least)


def _with_tasks(answering: Answering, pixels: int) -> int:
    """Bytes of the finished pixels, and of what the tasks make of them."""
    return PIXEL * pixels + sum(job.task.memory(pixels) for job, _ in answering)


def _together(results: list[dict[str, Any] | BaseException]) -> dict[str, Any]:
    """One answer from the results of all jobs. Raises the first failure among them."""
    answer: dict[str, Any] = {}
    for result in results:
        if isinstance(result, BaseException):
            raise result
        answer.update(result)
    return answer
