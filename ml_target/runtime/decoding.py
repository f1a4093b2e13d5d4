"""A request's picture: decoded once, within the memory that is there, by a thread or by the helper process."""

import io
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from ml_target.errors import TooLarge
from ml_target.imaging.formats import probe, probe_at_once
from ml_target.imaging.outside import Helper
from ml_target.imaging.picture import decode_half, decode_known
from ml_target.imaging.structure import PIXEL, Structure
from ml_target.imaging.turbojpeg import halves
from ml_target.log.trace import Trace
from ml_target.runtime.budget import MIB, Memory, Share
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.contract import Job, Steps
from ml_target.tasks.service import Service
from ml_target.tensors import UInt8

Decode = Callable[[BinaryIO, Structure], UInt8 | None]
"""Raises UnusableInput, Unavailable; None for a picture that another way has to decide about."""

Answering = Sequence[tuple[Job, Service[Any]]]
"""Each job of a request with the service that answers it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture and its share of the memory. `content`: its pixels, H x W x 3, or where `finish` is there, what
    the one task that asks has made of them, for its second step. `pixels`: how many are kept; `width`, `height`: of
    the file's own."""

    content: Any
    pixels: int
    width: int
    height: int
    share: Share
    finish: Callable[[Any, Trace], Coroutine[Any, Any, Any]] | None = None

    @classmethod
    def whole(cls, pixels: UInt8, share: Share) -> "Picture":
        height, width = pixels.shape[:2]
        return cls(pixels, height * width, width, height, share)


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes for all requests."""

    pool: ThreadPool
    memory: Memory
    helper: Helper
    max_pixels: int

    async def decoded(self, answering: Answering, upload: BinaryIO, held: AsyncExitStack, trace: Trace) -> Picture:
        """The picture; `held` keeps its share of the memory. Closes the upload, to free that of its own.

        Raises UnusableInput, TooLarge, Unavailable.
        """
        structure = probe_at_once(upload, self.max_pixels)
        if structure is None:
            structure = await self.pool.run(probe, upload, self.max_pixels)
        trace.picture = (structure.width, structure.height)
        picture = await self._decoded(answering, upload, structure, held, trace)
        upload.close()
        picture.share.shrink(_with_tasks(answering, picture.pixels))
        trace.picture = (picture.width, picture.height)
        return picture

    async def _decoded(
        self, answering: Answering, upload: BinaryIO, structure: Structure, held: AsyncExitStack, trace: Trace
    ) -> Picture:
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
                f"decode, but one picture may use at most {budget.largest // MIB} MiB",
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
            return Picture.whole(pixels, share)

    async def _begun(
        self, decode: Decode, answering: Answering, upload: BinaryIO, structure: Structure, share: Share, trace: Trace
    ) -> Picture | None:
        """Decoded in a thread, and prepared there where one task alone asks; None where `decode` gives it up."""
        steps = _steps(answering)
        with trace.stage("decode"):
            if steps is None:
                pixels = await self.pool.begin(decode, upload, structure)
                return None if pixels is None else Picture.whole(pixels, share)
            done = await self.pool.begin(_decoded_and_prepared, decode, steps.prepare, upload, structure)
        if done is None:
            return None
        content, (height, width), seconds = done
        trace.part(f"{answering[0][0].task.short}.prepare", "decode", seconds * 1000)
        return Picture(content, 0, width, height, share, steps.finish)


def _steps(answering: Answering) -> Steps[Any] | None:
    """Of the one task that asks: the thread that decodes the picture goes on with the first."""
    if len(answering) != 1:
        return None
    [(job, service)] = answering
    return job.task.steps(job, service.get())


def _decoded_and_prepared(
    decode: Decode, prepare: Callable[[UInt8], Any], upload: BinaryIO, structure: Structure
) -> tuple[Any, tuple[int, int], float] | None:
    """What is needed of the picture, its height and width, and the seconds of preparing."""
    pixels = decode(upload, structure)
    if pixels is None:
        return None
    started = time.perf_counter()
    content = prepare(pixels)
    return content, (pixels.shape[0], pixels.shape[1]), time.perf_counter() - started


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
