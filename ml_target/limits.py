"""What keeps memory bounded: budgets that are waited for, and a bound on the body."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from ml_target.errors import TooLarge, UnusableInput


class Budget:
    """So many units (bytes, pixels) in use at a time; whoever asks for more waits, first come first served.

    An amount above the whole budget counts as the whole of it: such a one runs alone.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[None]:
        amount = min(amount, self.total)
        await self._take(amount)
        try:
            yield
        finally:
            self.free += amount
            self._wake()

    async def _take(self, amount: int) -> None:
        if not self._queue and self.free >= amount:
            self.free -= amount
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.free += amount  # the turn came in the same moment
            self._wake()
            raise

    def _wake(self) -> None:
        while self._queue:
            amount, turn = self._queue[0]
            if turn.done():
                self._queue.popleft()
                continue
            if self.free < amount:
                return
            self._queue.popleft()
            self.free -= amount
            turn.set_result(None)


class BoundedBody:
    """A request's `receive` that ends a body which is too long, cut short, or whose sender has gone.

    It ends it by the form parser's own exception, the only one on which the parser closes the
    files it has begun; `problem` then holds the error to raise instead.
    """

    def __init__(self, receive: Receive, limit: int, boundary: bytes | None) -> None:
        self._receive = receive
        self._limit = limit
        self._closing = None if boundary is None else b"--" + boundary + b"--"
        self._seen = 0
        self._tail = b""
        self.problem: Exception | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        body = message.get("body", b"")
        self._seen += len(body)
        if message["type"] == "http.disconnect":
            self.problem = ClientDisconnect()
        elif self._seen > self._limit:
            self.problem = too_large(self._limit)
        elif self._closing is not None:
            self._tail = (self._tail + body[-512:])[-512:]
            if not message.get("more_body", False) and self._closing not in self._tail:
                self.problem = UnusableInput("The form ends before its closing boundary. Send the whole of it.")
        if self.problem is not None:
            raise MultiPartException("the body ends here")
        return message


def too_large(limit: int) -> TooLarge:
    """The refusal of a body over `limit` bytes."""
    return TooLarge(
        f"The upload exceeds {limit // 2**20} MiB. Send a preview instead of the original, or raise MAX_UPLOAD_MB."
    )
