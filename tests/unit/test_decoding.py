"""A request's picture: what its tasks get of it, and the memory that it keeps."""

import asyncio
import io
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, cast

import numpy as np
import pytest
from project import TESTS

from ml_target.errors import UnusableInput
from ml_target.imaging.formats import probe, probe_at_once
from ml_target.imaging.outside import Helper
from ml_target.imaging.picture import decode
from ml_target.log.trace import Trace
from ml_target.runtime.budget import Memory
from ml_target.runtime.decoding import Decoder, Picture
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.contract import Job, Steps, Task
from ml_target.tasks.service import Service
from ml_target.tensors import UInt8

PHOTO = (TESTS / "test.jpg").read_bytes()
WORKING_SET = 1000


class Asks(Task[Any, Any]):
    """Wants the shape of a picture, or the picture. `half`: whether half its size is enough."""

    name = "asks"

    def __init__(self, prepare: Callable[[UInt8], Any] | None = None, *, half: bool = False) -> None:
        self._prepare = prepare
        self._half = half

    def memory(self, pixels: int) -> int:
        return pixels + WORKING_SET

    def enough(self, serves: Any) -> int | None:
        return 100 if self._half else None

    def steps(self, job: Job, serves: Any) -> Steps[Any] | None:
        return self._prepare and Steps(self._prepare, self._finish)

    async def _finish(self, content: Any, trace: Trace) -> Any:
        return content

    offers = jobs = plain_job = run = encode = labels = cast(Any, None)


def decoded(data: bytes, *tasks: Task[Any, Any]) -> tuple[Picture, int, Trace]:
    """The picture, the bytes of memory that it keeps, and the trace."""

    async def scenario() -> tuple[Picture, int, Trace]:
        pool, trace = ThreadPool(1), Trace()
        decoder = Decoder(pool, Memory.of(512, 64), Helper(2**20), 10**8)
        answering = [(Job(task, "asks", "x"), Service("asks", object())) for task in tasks]
        try:
            async with AsyncExitStack() as held:
                picture = await decoder.decoded(answering, io.BytesIO(data), held, trace)
                return picture, picture.share.amount, trace
        finally:
            pool.close()

    return asyncio.run(scenario())


@pytest.mark.parametrize(("half", "shape"), [(False, (1440, 1920, 3)), (True, (720, 960, 3))])
def test_what_one_task_needs_is_made_where_the_picture_was_decoded(half: bool, shape: tuple[int, ...]) -> None:
    picture, kept, trace = decoded(PHOTO, Asks(lambda pixels: pixels.shape, half=half))
    assert picture.content == shape
    assert picture.finish is not None
    assert (picture.width, picture.height) == trace.picture == (1920, 1440)
    assert kept == WORKING_SET, "the pixels are gone"
    assert list(trace.stages) == ["wait", "decode", "asks.prepare"]
    assert all(ms >= 0 for ms in trace.stages.values())


@pytest.mark.parametrize("tasks", [(Asks(),), (Asks(np.sum), Asks(np.sum)), (Asks(np.sum), Asks())])
def test_several_tasks_share_the_pixels(tasks: tuple[Asks, ...]) -> None:
    picture, kept, trace = decoded(PHOTO, *tasks)
    assert np.array_equal(picture.content, decode(PHOTO, 10**8))
    assert picture.finish is None
    assert kept == 1920 * 1440 * (3 + len(tasks)) + len(tasks) * WORKING_SET
    assert list(trace.stages) == ["wait", "decode"]


def test_a_damaged_picture_is_refused_all_the_same() -> None:
    with pytest.raises(UnusableInput, match="damaged"):
        decoded(PHOTO[:100_000], Asks(np.sum))


def test_what_preparing_raises_comes_through() -> None:
    def fails(_: UInt8) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        decoded(PHOTO, Asks(fails))


# --------------------------------------------------------------------- at once


def test_an_ordinary_photo_tells_its_structure_at_once() -> None:
    assert probe_at_once(PHOTO, 10**8) == probe(PHOTO, 10**8)


def test_what_takes_longer_is_left_to_a_thread() -> None:
    """A file of many small segments: each is a read."""
    many = PHOTO[:2] + b"\xff\xfe\0\2" * 400 + PHOTO[2:]
    assert probe_at_once(many, 10**8) is None
    assert probe(many, 10**8).pixels == 1920 * 1440
    assert decoded(many, Asks(lambda pixels: pixels.shape))[0].content == (1440, 1920, 3)


def test_refusals_come_at_once() -> None:
    with pytest.raises(UnusableInput, match="unknown"):
        probe_at_once(b"no picture at all, of no format", 10**8)
