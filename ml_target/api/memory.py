"""What a failure leaves behind in memory: a picture, until the collector comes by, were it not let go of here."""

import asyncio
import traceback
from typing import Any


def forget(error: BaseException | None) -> None:
    """Lets go of what the frames of a failure hold.

    An error knows the frames it came through, and these know the tasks that end with the error: a circle.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def dismiss(task: "asyncio.Task[Any]") -> None:
    """Takes note of how a task has ended whose end nobody waits for, and lets go of what its cancellation holds."""
    try:
        task.exception()
    except asyncio.CancelledError as error:
        forget(error)


async def end_all(tasks: "set[asyncio.Task[Any]]") -> None:
    """Cancels tasks, and returns when all have ended: with the memory that they use, their caller may not go before.

    A cancellation that comes meanwhile (a client has gone, then the deadline passes) takes effect afterwards.
    """
    for task in tasks:
        task.cancel()
    called_off: asyncio.CancelledError | None = None
    while any(not task.done() for task in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:  # noqa: PERF203
            called_off = error
    for task in tasks:
        dismiss(task)
    if called_off is not None:
        raise called_off
