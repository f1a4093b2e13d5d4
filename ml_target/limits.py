"""What keeps memory bounded: budgets that are waited for, and a bound on the body."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.types import Message, Receive

from ml_target.errors import TooLarge


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


def bounded(receive: Receive, limit: int) -> Receive:
    """`receive` that raises TooLarge once a body has passed `limit` bytes, whatever its header said."""
    seen = 0

    async def receive_bounded() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise too_large(limit)
        return message

    return receive_bounded


def too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The upload exceeds {limit // 2**20} MiB. Send a preview instead of the original, or raise MAX_UPLOAD_MB."
    )
