"""The memory that arriving bodies may take together, charged as they arrive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STEP = 256 * 1024
"""Bytes by which a body's share grows: one turn for several pieces of it."""


class Uploads:
    """Bytes of bodies held at a time.

    A body is charged for what has come of it, not for what it announces: who only announces holds
    nobody up. A body gets more as long as every older one could still come to its end: so the
    oldest never waits, and bodies that have half arrived cannot wait for one another for ever.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self._bodies: dict[Upload, None] = {}  # oldest first

    @asynccontextmanager
    async def body(self, most: int) -> AsyncIterator["Upload"]:
        """The share of one body, until the block ends. `most`: bytes that it may come to."""
        upload = Upload(self, min(most, self.total))
        self._bodies[upload] = None
        try:
            yield upload
        finally:
            del self._bodies[upload]
            self.free += upload.held
            self.serve()

    def serve(self) -> None:
        """Gives those who wait what they may have, the oldest first."""
        spare = self.free  # what all bodies seen so far leave over, at the worst
        within_reach = self.free  # what a body can have once all older ones have ended
        for upload in self._bodies:
            more = upload.wanted - upload.held
            if 0 < more <= min(self.free, spare):
                self.free -= more
                spare -= more
                within_reach -= more
                upload.take()
            spare = min(spare, within_reach - (upload.most - upload.held))
            within_reach += upload.held


class Upload:
    """What one body has of the memory. Counts above the whole of it as the whole."""

    def __init__(self, uploads: Uploads, most: int) -> None:
        self._uploads = uploads
        self.most = most
        self.held = 0
        self.wanted = 0
        self._turn: asyncio.Future[None] | None = None

    async def grow(self, seen: int) -> None:
        """Waits until `seen` bytes may be held."""
        if seen <= self.held or self.held == self.most:
            return
        self.wanted = min(self.most, -(-seen // STEP) * STEP)
        self._uploads.serve()
        if self.held < self.wanted:
            self._turn = asyncio.get_running_loop().create_future()
            await self._turn

    def take(self) -> None:
        """Its turn has come."""
        self.held = self.wanted
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(None)

    def complete(self, seen: int) -> None:
        """All of it has come: `seen` bytes."""
        kept = min(seen, self.held)
        self._uploads.free += self.held - kept
        self.held = self.wanted = self.most = kept
        self._uploads.serve()
