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
