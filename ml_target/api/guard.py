"""The outermost layer: whatever happens inside, the client gets an answer in JSON."""

import asyncio
import logging
import traceback
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_target.api.inflight import STOPPED

log = logging.getLogger(__name__)

INTERNAL = "Internal error. The worker's log has the details: please report it."
NO_MEMORY = (
    "The worker has no memory left for this request. Send it again later; if it comes back, lower the job concurrency "
    "in Immich or HOST_THREADS, or give the worker more memory."
)


SAID = "ml_target.said"
"""In the scope of a request: the error that the application has answered and logged."""


class Guard:
    """An ASGI application that never lets an exception out of a request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
            return
        except asyncio.CancelledError:
            status, words = 503, STOPPED
        except Exception as error:
            if scope.get(SAID) is error:  # and answered, by the application's own handler
                return
            status, words = fault(error)
        if not begun:
            await _answer(send, status, words)


async def answer_fault(request: Request, error: Exception) -> JSONResponse:
    """The application's handler of what nobody foresaw; its framework raises it once more afterwards."""
    request.scope[SAID] = error
    status, words = fault(error)
    return JSONResponse({"detail": words}, status)


def fault(error: Exception) -> tuple[int, str]:
    """Status and words for an error that nobody foresaw; the log gets the rest of it."""
    if isinstance(error, MemoryError):
        log.error("a request failed for want of memory")
        forget(error)
        return 503, NO_MEMORY
    log.exception("a request failed for a reason nobody foresaw", exc_info=error)
    return 500, INTERNAL


def forget(error: BaseException | None) -> None:
    """Lets go of what the frames of a failure hold: a picture would stay until the collector comes by."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


async def _answer(send: Send, status: int, words: str) -> None:
    body: dict[str, Any] = {"detail": words}
    content = orjson.dumps(body)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(content)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
