"""The outermost layer: whatever happens inside, the client gets an answer in JSON, which carries the request's id."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ml_target.api.identity import HEADER, give_id, id_of
from ml_target.api.inflight import STOPPED
from ml_target.api.memory import forget

log = logging.getLogger(__name__)

INTERNAL = "Internal error. The worker's log has the details: please report it."
NO_MEMORY = (
    "The worker has no memory left for this request. Send it again later; if this happens again, lower the job "
    "concurrency in Immich or HOST_THREADS, or give the worker more memory."
)


ANSWERED = "ml_target.answered"
"""Key in the scope of a request: the error that the application has answered and logged."""


DROP_S = 10.0
"""Seconds for which the rest of a refused body is read and dropped before a connection that has to close is closed.

Closing with bytes unread resets the connection, and the reset overtakes the answer: a proxy that sends
`Connection: close` (HAProxy's `option httpclose`) would then report 502 instead of our 413.
"""


STOP_DROP_S = 1.0
"""The same while the worker stops, which waits for its connections."""

DROPPING = "ml_target.dropping"
"""Key in the scope of a request: it is answered, and only the rest of its body is read."""


class _Body:
    """The body of a request as the application reads it, and whether there is no more of it to be read."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope, self._receive = scope, receive
        # A client that waits to be asked for its body, which the first read does, sends none until then.
        self.ended = any(name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"])

    async def receive(self) -> Message:
        self.ended = False
        message = await self._receive()
        self.ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def drop(self, seconds: float) -> None:
        """Reads on to the end of the body, for at most `seconds`."""
        self._scope[DROPPING] = True
        dropping = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait({dropping}, timeout=seconds)
        finally:
            dropping.cancel()

    async def _read(self) -> None:
        while not self.ended:
            await self.receive()


class Guard:
    """An ASGI application that never lets an exception out of a request.

    `stopping`: whether the worker stops, so that every connection ends with its answer.
    """

    def __init__(self, app: ASGIApp, stopping: Callable[[], bool] = lambda: False) -> None:
        self._app, self._stopping = app, stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False
        body = _Body(scope, receive)
        closes = _closes(scope)
        identity = (HEADER, give_id(scope).encode())

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], identity]}
            ending = message["type"] == "http.response.body" and not message.get("more_body", False)
            stops = self._stopping()
            if ending and (closes or stops) and not body.ended:
                await send({**message, "more_body": True})
                await body.drop(STOP_DROP_S if stops else DROP_S)
                message = {"type": "http.response.body"}
            await send(message)

        try:
            await self._app(scope, body.receive, watched)
            return
        except asyncio.CancelledError:
            status, words = 503, ". ".join(STOPPED)
        except Exception as error:
            if scope.get(ANSWERED) is error:  # and answered, by the application's own handler
                return
            status, words = fault(error, id_of(scope))
        if not begun:
            closes = True
            await _answer(watched, status, words)


def _closes(scope: Scope) -> bool:
    """Whether the connection ends with this answer. One that stays open drops what is unread by itself."""
    asked = (value for name, value in scope["headers"] if name == b"connection")
    return scope["http_version"] == "1.0" or any(b"close" in value.lower() for value in asked)


async def answer_fault(request: Request, error: Exception) -> JSONResponse:
    """The application's handler for unexpected errors; the framework raises the error once more afterwards."""
    request.scope[ANSWERED] = error
    status, words = fault(error, id_of(request.scope))
    return JSONResponse({"detail": words}, status)


def fault(error: Exception, request: str) -> tuple[int, str]:
    """Status and message for an unexpected error; the log gets the details. `request`: its id."""
    if isinstance(error, MemoryError):
        log.error("a request failed: out of memory, id=%s", request, extra={"fields": {"id": request}})
        forget(error)
        return 503, NO_MEMORY
    words = "a request failed with an unexpected error, id=%s"
    log.exception(words, request, exc_info=error, extra={"fields": {"id": request}})
    return 500, INTERNAL


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
