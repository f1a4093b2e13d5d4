"""What keeps memory bounded: budgets that are waited for."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Budget:
    """So many units (bytes, pixels) in use at a time; whoever asks for more waits, first come first served.

    An amount above the whole budget counts as the whole of it: such a one runs alone.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator["Share"]:
        """Waits for its turn, then holds `amount` until the block ends."""
        share = Share(self, min(amount, self.total))
        await self._take(share.amount)
        try:
            yield share
        finally:
            share.shrink(0)

    def give_back(self, amount: int) -> None:
        """Frees `amount` for those who wait."""
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


class Share:
    """What one holder has of a budget."""

    def __init__(self, budget: Budget, amount: int) -> None:
        self._budget = budget
        self.amount = amount

    def shrink(self, amount: int) -> None:
        """Gives back what is held beyond `amount`."""
        surplus = max(0, self.amount - amount)
        self.amount -= surplus
        self._budget.give_back(surplus)
