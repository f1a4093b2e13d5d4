"""Threads beside the event loop, so that it never blocks: those of a device, and the pool for the host's own work."""

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, TypeVar

import cv2

P = ParamSpec("P")
T = TypeVar("T")


class Threads(Executor):
    """`most` threads that make calls, the oldest first. They begin with the first call, and end with `shutdown`.

    For `run_in_executor`. A call goes to a thread and its answer to the event loop without the two futures, the locks
    and the semaphores of `ThreadPoolExecutor`: cold, as for a lone search, these take 0.2 ms of the processor.
    """

    def __init__(self, most: int, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=_serve, args=(self._calls,), name=f"{name}_{n}", daemon=True) for n in range(most)
        ]
        self._begun = False
        self._end = weakref.finalize(self, _end, self._calls, most)

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[T]":  # type: ignore[override]
        """The answer, as a future of the running event loop: `run_in_executor` hands it on as it is."""
        call = _Call(partial(function, *args, **kwargs))
        self.make(call)
        return call.answer

    def make(self, call: Callable[[], object]) -> None:
        """Has a thread make the call, which must not raise. Raises RuntimeError when the threads have ended."""
        if not self._end.alive:
            raise RuntimeError("these threads have ended")
        if not self._begun:
            self._begun = True
            for thread in self._threads:
                thread.start()
        self._calls.put(call)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Ends the threads once they have made the calls that they were given."""
        self._end()
        if wait and self._begun:
            for thread in self._threads:
                thread.join()


def _serve(calls: "SimpleQueue[Callable[[], object] | None]") -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # it holds nothing while it waits


def _end(calls: "SimpleQueue[Callable[[], object] | None]", threads: int) -> None:
    for _ in range(threads):
        calls.put(None)


class _Call(Generic[T]):
    """A call for a thread to make, and the future of the running event loop that gets its answer."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._made = False
        self._waited: asyncio.Future[None] | None = None
        self.answer: asyncio.Future[T] = self._loop.create_future()

    def __call__(self) -> None:
        try:
            give = partial(self._give, self.answer.set_result, self._call())
        except BaseException as error:
            give = partial(self._give, self.answer.set_exception, error)
        self._tell(give)
        del self, give  # an error refers to this frame: a cycle that only the garbage collector would end

    def cancel(self) -> None:
        """Cancels the answer, from any thread."""
        self._tell(self.answer.cancel)

    async def made(self) -> None:
        """Waits until the call has been made, whoever still wants its answer."""
        if not self._made:
            self._waited = self._loop.create_future()
            await self._waited

    def _tell(self, words: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the event loop has ended, and everybody who waited with it
            self._loop.call_soon_threadsafe(words)

    def _give(self, give: Callable[[Any], None], answer: Any) -> None:
        self._made = True
        if not self.answer.done():  # else whoever wanted it has been cancelled
            give(answer)
        if self._waited is not None and not self._waited.done():
            self._waited.set_result(None)


class ThreadPool:
    """A bounded pool that decodes, prepares and post-processes; inference does not run here.

    OpenCV's own threads are turned off, for the whole process: these threads are as many as the processor can use.
    """

    def __init__(self, threads: int) -> None:
        cv2.setNumThreads(1)
        self._count = threads
        self._threads = Threads(threads, "host")
        self._taking = threading.Lock()
        self._closed = False
        self._waiting: deque[_Call[Any]] = deque()
        self._beginning: deque[_Call[Any]] = deque()
        self._helping: deque[Callable[[], None]] = deque()
        self._lines: tuple[deque[Any], ...] = (self._waiting, self._beginning, self._helping)
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
                helpers.extend(self._help(work) for _ in calls[1 : self._count])
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

    async def _run(self, line: "deque[_Call[Any]]", function: Callable[[], T]) -> T:
        call = _Call(function)
        line.append(call)
        self._threads.make(self._next)
        try:
            return await call.answer
        except asyncio.CancelledError:
            if not self._dropped(line, call):
                await call.made()
            raise
        finally:
            del call  # its error refers to this frame: a cycle, as above

    def _help(self, work: Callable[[], None]) -> "Future[None]":
        helper: Future[None] = Future()
        self._helping.append(partial(_into, helper, work))
        self._threads.make(self._next)
        return helper

    def _next(self) -> None:
        call = self._first()
        if call is not None:
            call()
        del call  # as above: the frame of an error refers to this one

    def _first(self) -> Callable[[], None] | None:
        """What goes next: for each call of `_next` there is something, unless it was dropped."""
        with self._taking:
            for line in self._lines:
                if line and not self._closed:
                    found: Callable[[], None] = line.popleft()
                    return found
        return None

    def _dropped(self, line: "deque[_Call[Any]]", call: "_Call[Any]") -> bool:
        """Drops the call if no thread has begun it."""
        with self._taking, suppress(ValueError):
            line.remove(call)
            return True
        return False

    def close(self) -> None:
        """Ends the threads when what they do has ended. Work that has not started is cancelled."""
        with self._taking:
            self._closed = True
        for line in (self._waiting, self._beginning):
            for call in list(line):
                call.cancel()
        self._threads.shutdown()


def _into(future: "Future[None]", work: Callable[[], None]) -> None:
    """Makes the call unless it has been cancelled; the future gets to know what became of it."""
    try:
        if future.set_running_or_notify_cancel():
            work()
            future.set_result(None)
    except BaseException as error:
        future.set_exception(error)
    finally:
        del future, work  # as above
