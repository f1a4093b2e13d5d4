"""The pool of threads for work on the host's processor, so that the event loop never blocks."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from queue import PriorityQueue
from typing import Any, ParamSpec, TypeVar

import cv2

P = ParamSpec("P")
T = TypeVar("T")

_FIRST, _BEGINS, _HELPS = range(3)
"""What goes before what, of the work that waits."""


class ThreadPool:
    """A bounded pool that decodes, prepares and post-processes; inference does not run here.

    OpenCV's own threads are turned off, for the whole process: these threads are as many as the processor can use.
    """

    def __init__(self, threads: int) -> None:
        cv2.setNumThreads(1)
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="host")
        self._waiting: PriorityQueue[tuple[int, int, Future[Any], Callable[[], Any]]] = PriorityQueue()
        self._numbers = itertools.count()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Awaits `function(*args, **kwargs)` run in the pool.

        When cancelled, work that has not started is dropped, and work that has is waited for: what
        its caller holds (above all its share of the memory) must not be given back while it still runs.
        """
        return await self._run(_FIRST, partial(function, *args, **kwargs))

    async def begin(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what a photo begins with: all other work passes it, so that photos that have begun are answered
        and their memory is freed."""
        return await self._run(_BEGINS, partial(function, *args, **kwargs))

    def together(self, calls: Sequence[Callable[[], object]]) -> None:
        """Makes the calls, from a thread of this pool; others help where no work waits for them. Blocks.

        Nobody waits for a thread: what no other has begun, the caller does. Raises what the first call to fail raises.
        """
        left = iter(calls)  # the threads take from it in turn

        def work() -> None:
            for call in left:
                call()

        helpers: list[Future[None]] = []
        if self._waiting.empty():  # else they would pile up under load, each behind all other work
            with suppress(RuntimeError):  # the pool is being closed: nobody will help
                helpers.extend(self._submit(_HELPS, work) for _ in calls[1 : self._threads])
        try:
            work()
        finally:
            list(left)  # after a failure nobody begins another
            begun = [helper for helper in helpers if not helper.cancel()]
            wait(begun)
        try:
            while begun:
                begun.pop().result()
        finally:
            del helpers, begun  # an error of theirs would refer to this frame, as below

    async def _run(self, place: int, call: Callable[[], T]) -> T:
        work = self._submit(place, call)
        future = asyncio.wrap_future(work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not work.cancel():
                await asyncio.wait({future})
                if not future.cancelled():
                    future.exception()  # nobody is left to receive it
            raise
        finally:
            del work, future  # their error refers to this frame: a cycle that only the garbage collector would end

    def _submit(self, place: int, call: Callable[[], T]) -> "Future[T]":
        work: Future[T] = Future()
        self._waiting.put((place, next(self._numbers), work, call))
        self._executor.submit(self._next)
        return work

    def _next(self) -> None:
        _, _, work, call = self._waiting.get_nowait()  # there is one for each time that this is submitted
        try:
            if work.set_running_or_notify_cancel():
                work.set_result(call())
        except BaseException as error:
            work.set_exception(error)
        finally:
            del work, call  # as above

    def close(self) -> None:
        """Ends the threads when what they do has ended. Work that has not started is cancelled."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        while not self._waiting.empty():
            self._waiting.get_nowait()[2].cancel()
