"""The pool of the host's threads: what goes first, and what becomes of work that has not started."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ml_target.scheduling.threads import ThreadPool


@contextmanager
def occupied(pool: ThreadPool) -> Iterator[Callable[[], None]]:
    """The pool's only thread does something until it is let go."""
    gate = threading.Event()
    held = asyncio.ensure_future(pool.run(gate.wait, 30))
    yield gate.set
    gate.set()
    assert held


def test_photos_that_have_begun_pass_those_that_have_not() -> None:
    done: list[str] = []

    async def scenario() -> None:
        pool = ThreadPool(1)
        with occupied(pool) as let_go:
            await asyncio.sleep(0)
            starts = [pool.begin(done.append, f"photo {n}") for n in range(3)]
            work = asyncio.gather(*starts, pool.run(done.append, "align"), pool.run(done.append, "crop"))
            await asyncio.sleep(0)
            let_go()
            await work
        pool.close()

    asyncio.run(scenario())
    assert done == ["align", "crop", "photo 0", "photo 1", "photo 2"]


def test_work_that_has_not_started_is_dropped_when_nobody_waits_for_it() -> None:
    done: list[str] = []

    async def scenario() -> None:
        pool = ThreadPool(1)
        with occupied(pool) as let_go:
            await asyncio.sleep(0)
            dropped = asyncio.ensure_future(pool.begin(done.append, "dropped"))
            kept = asyncio.ensure_future(pool.begin(done.append, "kept"))
            await asyncio.sleep(0)
            dropped.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dropped
            let_go()
            await kept
        pool.close()

    asyncio.run(scenario())
    assert done == ["kept"]


def test_closing_cancels_what_has_not_started() -> None:
    async def scenario() -> None:
        pool = ThreadPool(1)
        with occupied(pool) as let_go:
            await asyncio.sleep(0)
            waiting = [asyncio.ensure_future(each) for each in (pool.run(int), pool.begin(int))]
            await asyncio.sleep(0)
            threading.Timer(0.2, let_go).start()
            pool.close()
            for each in waiting:
                with pytest.raises(asyncio.CancelledError):
                    await each

    asyncio.run(scenario())
