"""An event loop on virtual time: its clock stands still while anything is to be done, then jumps to the next timer."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s. What is given to threads runs at once, and takes the seconds for which it calls `spend`.

    So nothing runs beside the loop, and the same test takes the same turns every time.
    """

    def __init__(self) -> None:
        super().__init__(_Jumping(self))
        self.now = 0.0
        self._spent = 0.0

    def time(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        """For work that was given to a thread: it takes so much longer."""
        self._spent += seconds

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, work: Callable[..., T], *args: Any
    ) -> "asyncio.Future[T]":
        outcome: asyncio.Future[T] = self.create_future()
        waited: asyncio.Future[T] = self.create_future()
        self._spent = 0.0
        try:
            outcome.set_result(work(*args))
        except Exception as error:
            outcome.set_exception(error)

        def end() -> None:
            failure = outcome.exception()
            if waited.done():  # whoever waited has been cancelled
                return
            if failure is not None:
                waited.set_exception(failure)
            else:
                waited.set_result(outcome.result())

        self.call_later(self._spent, end)
        return waited


class _Jumping(selectors.SelectSelector):
    """Waits for nothing: where the loop would, its time goes on."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("nothing is left to be done, and somebody still waits")
        self._loop.now += timeout
        return []  # nothing comes from outside, and asking the system takes a fifth of a test's time


def run(work: Callable[[], Awaitable[T]], most: float = 3600.0) -> tuple[T, float]:
    """What the work gives, and the virtual seconds that it took; TimeoutError where it takes more than `most`."""

    async def bounded() -> T:
        return await asyncio.wait_for(work(), most)

    loop = VirtualLoop()
    try:
        return loop.run_until_complete(bounded()), loop.now
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.close()


def now() -> float:
    """The running loop's time."""
    return asyncio.get_running_loop().time()


def spend(seconds: float) -> None:
    """Seconds that the work takes which calls this."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.spend(seconds)
