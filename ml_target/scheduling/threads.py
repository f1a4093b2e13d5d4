"""The pool of threads for work on the host's processor, so that the event loop never blocks."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

import cv2

P = ParamSpec("P")
T = TypeVar("T")

_Work = tuple[Future[Any], Callable[[], Any]]


class ThreadPool:
    """A bounded pool that decodes, prepares and post-processes; inference does not run here.

    OpenCV's own threads are turned off, for the whole process: these threads are as many as the processor can use.
    """

    def __init__(self, threads: int) -> None:
        cv2.setNumThreads(1)
        self._threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="host")
        self._waiting: deque[_Work] = deque()
        self._beginning: deque[_Work] = deque()
        self._helping: deque[_Work] = deque()
        self._lines = self._waiting, self._beginning, self._helping
        """What goes before what, of the work that waits."""

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Awaits `function(*args, **kwargs)` run in the pool.

        When cancelled, work that has not started is dropped, and work that has is waited for: what
        its caller holds (above all its share of the memory) must not be given back while it still runs.
        """
        return await self._run(self._waiting, partial(function, *args, **kwargs))

    async def begin(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what a photo begins with: all other work passes it, so that photos that have begun are answered
        and their memory is freed."""
        return await self._run(self._beginning, partial(function, *args, **kwargs))

    def together(self, calls: Sequence[Callable[[], object]]) -> None:
        """Makes the calls, from a thread of this pool; others help where no work waits for them. Blocks.

        Nobody waits for a thread: what no other has begun, the caller does. Raises what the first call to fail raises.
        """
        left = iter(calls)  # the threads take from it in turn

        def work() -> None:
            for call in left:
                call()

        helpers: list[Future[None]] = []
        if not any(self._lines):  # else they would pile up under load, each behind all other work
            with suppress(RuntimeError):  # the pool is being closed: nobody will help
                helpers.extend(self._submit(self._helping, work) for _ in calls[1 : self._threads])
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

    async def _run(self, line: "deque[_Work]", call: Callable[[], T]) -> T:
        work = self._submit(line, call)
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

    def _submit(self, line: "deque[_Work]", call: Callable[[], T]) -> "Future[T]":
        work: Future[T] = Future()
        line.append((work, call))
        self._executor.submit(self._next)
        return work

    def _next(self) -> None:
        work, call = self._first()
        try:
            if work.set_running_or_notify_cancel():
                work.set_result(call())
        except BaseException as error:
            work.set_exception(error)
        finally:
            del work, call  # as above

    def _first(self) -> "_Work":
        """What goes next. There is something for each time that `_next` is submitted, if not always where it was."""
        while True:
            for line in self._lines:
                with suppress(IndexError):
                    return line.popleft()

    def close(self) -> None:
        """Ends the threads when what they do has ended. Work that has not started is cancelled."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        for line in self._lines:
            for work, _ in line:
                work.cancel()
