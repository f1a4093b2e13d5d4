"""Keeps memory bounded: a budget that requests wait for, and how MEMORY_MB is divided."""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

MIB = 2**20
UPLOADS, KEPT = 8, 12
"""The fractions of MEMORY_MB for uploads (1/8), and kept for ordinary pictures (1/12)."""


class Budget:
    """At most `total` units (bytes) in use at a time; further requests wait, first come first served.

    `kept`: units that patient holders leave to the others. A patient one waits in a queue of its
    own, and the others pass it as long as they stay within `kept` together.

    An amount larger than the whole budget counts as the whole: its holder runs alone.
    """

    def __init__(self, total: int, kept: int = 0) -> None:
        self.total = total
        self.free = total
        self.kept = min(kept, total)
        self._hurried = 0
        self._queue: deque[_Turn] = deque()
        self._patient: deque[_Turn] = deque()

    @property
    def largest(self) -> int:
        """The most that a patient holder can have."""
        return self.total - self.kept

    @asynccontextmanager
    async def hold(self, amount: int, patient: bool = False) -> AsyncIterator["Share"]:
        """Waits for its turn, then holds `amount` until the block ends."""
        share = Share(self, patient)
        try:
            await self._take(share, min(amount, self.largest if patient else self.total))
            yield share
        finally:
            share.shrink(0)

    async def _take(self, share: "Share", amount: int) -> None:
        queue = self._patient if share.patient else self._queue
        turn = _Turn(share, amount, asyncio.get_running_loop().create_future())
        queue.append(turn)
        self._wake()
        if turn.come.done():
            return
        try:
            await turn.come
        except asyncio.CancelledError:  # a turn that came at the same moment is given back with the share
            if turn in queue:
                queue.remove(turn)
            self._wake()
            raise

    def give_back(self, share: "Share", amount: int) -> None:
        """Frees `amount` of `share` for the waiting ones."""
        self._count(share, -amount)
        self._wake()

    def _wake(self) -> None:
        """Gives every waiting one its amount whose turn has come."""
        for queue in (self._patient, self._queue):
            while queue and self._may(queue[0].share, queue[0].amount):
                turn = queue.popleft()
                if not turn.come.done():
                    self._count(turn.share, turn.amount)
                    turn.come.set_result(None)

    def _count(self, share: "Share", amount: int) -> None:
        share.amount += amount
        self.free -= amount
        if not share.patient:
            self._hurried += amount

    def _may(self, share: "Share", amount: int) -> bool:
        if not share.patient and self._patient and self._hurried + amount > self.kept:
            return False
        return self.free >= amount


class Share:
    """What one holder has of a budget."""

    def __init__(self, budget: Budget, patient: bool = False) -> None:
        self._budget = budget
        self.patient = patient
        self.amount = 0

    def shrink(self, amount: int) -> None:
        """Gives back what is held beyond `amount`."""
        self._budget.give_back(self, max(0, self.amount - amount))


@dataclass(eq=False, slots=True)
class _Turn:
    share: Share
    amount: int
    come: "asyncio.Future[None]"


@dataclass(frozen=True, slots=True)
class Memory:
    """MEMORY_MB, divided: uploads can never take the memory of pictures being worked on, so work always goes on.

    `uploads`: bytes, an eighth, at least one upload of the largest size. `pictures`: the rest; a
    twelfth of the whole is kept for ordinary pictures, however many large ones wait.
    """

    uploads: int
    pictures: Budget

    @classmethod
    def of(cls, memory_mb: int, max_upload_mb: int) -> "Memory":
        total = memory_mb * MIB
        uploads = max(total // UPLOADS, max_upload_mb * MIB)
        return cls(uploads, Budget(total - uploads, kept=total // KEPT))

    def setting_for(self, amount: int) -> int:
        """The MEMORY_MB with which one picture may take `amount`."""
        total = max(amount / (1 - 1 / UPLOADS - 1 / KEPT), (amount + self.uploads) / (1 - 1 / KEPT))
        return math.ceil(total / MIB)
