"""Frees at once what a failure would keep in memory, such as a picture, until the garbage collector runs."""

import asyncio
import traceback
from typing import Any


def forget(error: BaseException | None) -> None:
    """Frees what the frames of a failure hold.

    An error refers to the frames it passed through, and these to the tasks that end with it: a reference cycle.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def dismiss(task: "asyncio.Task[Any]") -> None:
    """Retrieves the outcome of a task that nobody awaits, and frees what its cancellation holds."""
    try:
        task.exception()
    except asyncio.CancelledError as error:
        forget(error)


async def end_all(tasks: "set[asyncio.Task[Any]]") -> None:
    """Cancels tasks, and returns when all have ended: their caller must not go first, for they use its memory.

    A cancellation that arrives meanwhile (a client has gone, then the deadline passes) takes effect afterwards.
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
