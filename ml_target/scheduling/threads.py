"""The pool of threads for work on the host's processor, so that the event loop never blocks."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import cv2

P = ParamSpec("P")
T = TypeVar("T")


class ThreadPool:
    """A bounded pool that decodes, prepares and post-processes; inference does not run here.

    OpenCV's own threads are turned off, for the whole process: these threads are as many as the processor can use.
    """

    def __init__(self, threads: int) -> None:
        cv2.setNumThreads(1)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="host")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Awaits `function(*args, **kwargs)` run in the pool.

        When cancelled, work that has not started is dropped, and work that has is waited for: what
        its caller holds (above all its share of the memory) must not be given back while it still runs.
        """
        work = self._executor.submit(function, *args, **kwargs)
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

    def close(self) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
