"""A bound on the body of a request: its length, its pace, its end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from ml_target.errors import TooLarge, TooSlow, UnusableInput
from ml_target.runtime.budget import Share

SMALL_BODY = 64 * 1024
"""Bytes that every body may have without waiting for room: a search query never waits."""

IDLE_S = 30
"""Seconds without a byte after which an upload is given up: it holds room that others wait for."""

DROP_S, DROP_IDLE_S = 10, 1
"""Seconds given to the rest of a refused body, as a whole and between two pieces of it."""

Reserve = Callable[[], Awaitable[Share]]


class BoundedBody:
    """A request's `receive` that ends a body which is too long, too slow, cut short, or whose sender has gone.

    It ends it by the form parser's own exception, the only one on which the parser closes the
    files it has begun; `problem` then holds the error to raise instead. A body beyond `SMALL_BODY`
    first waits for room: `reserve`.
    """

    def __init__(self, receive: Receive, limit: int, boundary: bytes | None, reserve: Reserve) -> None:
        self._receive = receive
        self._limit = limit
        self._closing = None if boundary is None else b"--" + boundary + b"--"
        self._closed = False
        self._reserve = reserve
        self._share: Share | None = None
        self._tail = b""
        self.seen = 0
        self.ended = False
        self.problem: Exception | None = None

    async def receive(self) -> Message:
        if self.seen > SMALL_BODY and self._share is None:
            self._share = await self._reserve()
        try:
            message = await asyncio.wait_for(self._receive(), IDLE_S)
        except asyncio.TimeoutError:
            self.problem = TooSlow(f"Nothing of the upload came for {IDLE_S} s. Check the network, and send it again.")
            raise MultiPartException("the body ends here") from None
        body = message.get("body", b"")
        self.seen += len(body)
        self.ended = not message.get("more_body", False)
        if message["type"] == "http.disconnect":
            self.problem = ClientDisconnect()
        elif self.seen > self._limit:
            self.problem = too_large(self._limit)
        elif self.ended:
            self._finish(body)
        elif self._closing is not None:
            self._look_for_end(body)
        if self.problem is not None:
            raise MultiPartException("the body ends here")
        return message

    def _finish(self, body: bytes) -> None:
        self._look_for_end(body)
        if self._closing is not None and not self._closed:
            self.problem = UnusableInput("The form ends before its closing boundary. Send the whole of it.")
        if self._share is not None:
            self._share.shrink(self.seen)

    def _look_for_end(self, body: bytes) -> None:
        if self._closing is None or self._closed:
            return
        window = self._tail + body
        self._closed = self._closing in window
        self._tail = window[-len(self._closing) :]


async def drop_rest(receive: Receive) -> None:
    """Reads what is left of a refused body: a sender would see a broken pipe, not the answer."""

    async def read() -> None:
        while (await asyncio.wait_for(receive(), DROP_IDLE_S)).get("more_body", False):
            pass

    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(read(), DROP_S)


def too_large(limit: int) -> TooLarge:
    """The refusal of a body over `limit` bytes."""
    return TooLarge(
        f"The upload exceeds {limit // 2**20} MiB. Send a preview instead of the original, or raise MAX_UPLOAD_MB."
    )
