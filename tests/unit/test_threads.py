"""The pool of the host's threads: what goes first, and what becomes of work that has not started."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import pytest

from ml_target.scheduling.threads import ThreadPool


@contextmanager
def occupied(pool: ThreadPool) -> Iterator[Callable[[], None]]:
    """A thread of the pool does something until it is let go."""
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


def test_threads_that_have_nothing_to_do_help() -> None:
    both = threading.Barrier(2, timeout=30)

    async def scenario() -> None:
        pool = ThreadPool(2)
        await pool.run(pool.together, [both.wait] * 4)  # each waits for another
        pool.close()

    asyncio.run(scenario())
    assert not both.broken


def test_no_thread_helps_while_work_waits_for_it() -> None:
    """Else a photo would have two threads of which one may wait for the other, and the next photo none."""
    done: list[str] = []
    begun, gate = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        gate.wait(30)
        done.append("the caller's")

    async def scenario() -> None:
        pool = ThreadPool(2)
        with occupied(pool) as let_go:
            await asyncio.sleep(0)
            caller = asyncio.ensure_future(pool.run(pool.together, [first, partial(done.append, "help")]))
            await asyncio.to_thread(begun.wait, 30)
            photos = asyncio.gather(*(pool.begin(done.append, f"photo {n}") for n in range(3)))
            await asyncio.sleep(0)
            let_go()
            await photos
        while "help" not in done:
            await asyncio.sleep(0.001)
        gate.set()
        await caller
        pool.close()

    asyncio.run(scenario())
    assert done == ["photo 0", "photo 1", "photo 2", "help", "the caller's"]


def test_offers_of_work_do_not_pile_up_under_load() -> None:
    async def scenario() -> None:
        pool = ThreadPool(2)
        with occupied(pool) as let_go:
            await asyncio.sleep(0)
            gate = threading.Event()
            busy = asyncio.ensure_future(pool.run(gate.wait, 30))
            waiting = asyncio.ensure_future(pool.begin(int))
            await asyncio.sleep(0)
            for _ in range(20):
                await asyncio.to_thread(pool.together, [int, int])
            assert sum(map(len, pool._lines)) <= 2
            gate.set()
            let_go()
            await asyncio.gather(busy, waiting)
        pool.close()

    asyncio.run(scenario())


def test_work_is_done_without_help_where_all_threads_are_busy_or_closed() -> None:
    done: list[int] = []
    calls = [partial(done.append, n) for n in range(3)]

    async def scenario() -> None:
        pool = ThreadPool(2)
        gate = threading.Event()
        busy = asyncio.ensure_future(pool.run(gate.wait, 30))
        await asyncio.sleep(0)
        await pool.run(pool.together, calls)
        assert not busy.done()
        gate.set()
        await busy
        pool.close()
        pool.together(calls)

    asyncio.run(scenario())
    assert done == [0, 1, 2, 0, 1, 2]


def test_together_ends_when_all_have_ended_and_raises_what_failed() -> None:
    both, done = threading.Barrier(2, timeout=30), list[str]()

    def fails() -> None:
        both.wait()
        raise MemoryError("no room")

    def works() -> None:
        both.wait()
        time.sleep(0.05)
        done.append("works")

    async def scenario() -> None:
        pool = ThreadPool(2)
        for calls in ([fails, works], [works, fails]):
            with pytest.raises(MemoryError, match="no room"):
                await pool.run(pool.together, calls)
        pool.close()

    asyncio.run(scenario())
    assert done == ["works"] * 2


def test_what_failed_beside_its_caller_is_not_kept_by_its_error() -> None:
    class Picture: ...

    both = threading.Barrier(2, timeout=30)

    def fails(_: Picture) -> None:
        both.wait()
        raise MemoryError("no room")

    async def scenario(pool: ThreadPool) -> "weakref.ref[Picture]":
        picture = Picture()
        with suppress(MemoryError):
            await pool.run(pool.together, [both.wait, partial(fails, picture)])
        return weakref.ref(picture)

    pool = ThreadPool(2)
    gc.collect()
    gc.disable()
    try:
        kept = [asyncio.run(scenario(pool)) for _ in range(4)]
        end = time.monotonic() + 10  # the threads may still be on their way out
        while any(each() for each in kept) and time.monotonic() < end:
            time.sleep(0.01)
        assert [each() for each in kept] == [None] * 4
    finally:
        gc.enable()
        pool.close()


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
