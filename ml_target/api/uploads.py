"""The memory that request bodies may take together, charged as they arrive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STEP = 256 * 1024
"""Bytes by which a body's share grows: one turn for several pieces of it."""


class Uploads:
    """Bytes of request bodies held at a time.

    A body is charged for what has arrived, not for what it announces: an announcement alone
    blocks nobody. A body gets more as long as every older one could still be completed: so the
    oldest never waits, and bodies that have half arrived cannot deadlock.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.free = total
        self._holders: dict[Upload, None] = {}  # in the order in which they got their first share
        self._newcomers: dict[Upload, None] = {}  # that wait for their first share

    @asynccontextmanager
    async def body(self, most: int) -> AsyncIterator["Upload"]:
        """The share of one body, until the block ends. `most`: bytes that it may come to."""
        upload = Upload(self, min(most, self.total))
        try:
            yield upload
        finally:
            self._holders.pop(upload, None)
            self._newcomers.pop(upload, None)
            self.free += upload.held
            self.serve()

    def enter(self, upload: "Upload") -> None:
        """Puts the upload in line. One that holds nothing yet blocks nobody."""
        if upload not in self._holders:
            self._newcomers.setdefault(upload)

    def crowded(self) -> bool:
        """Whether any upload waits."""
        return any(upload.wanted > upload.held for upload in (*self._holders, *self._newcomers))

    def serve(self) -> None:
        """Gives waiting uploads what they may have, the oldest first."""
        spare = self.free  # what all bodies seen so far leave over, at the worst
        within_reach = self.free  # what a body can have once all older ones have ended
        for upload in (*self._holders, *self._newcomers):
            more = upload.wanted - upload.held
            if 0 < more <= min(self.free, spare):
                self.free -= more
                spare -= more
                within_reach -= more
                upload.take()
                if upload in self._newcomers:
                    del self._newcomers[upload]
                    self._holders[upload] = None
            if upload in self._holders:
                spare = min(spare, within_reach - (upload.most - upload.held))
                within_reach += upload.held


class Upload:
    """One body's share of the memory. A body larger than all of it counts as all of it."""

    def __init__(self, uploads: Uploads, most: int) -> None:
        self._uploads = uploads
        self.most = most
        self.held = 0
        self.wanted = 0
        self._turn: asyncio.Future[None] | None = None

    def others_wait(self) -> bool:
        """Whether another body waits for memory while this one holds some."""
        return self.held > 0 and self._uploads.crowded()

    async def grow(self, seen: int) -> None:
        """Waits until `seen` bytes may be held."""
        if seen <= self.held or self.held == self.most:
            return
        self.wanted = min(self.most, -(-seen // STEP) * STEP)
        self._uploads.enter(self)
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
        """All of it has arrived: `seen` bytes."""
        kept = min(seen, self.held)
        self._uploads.free += self.held - kept
        self.held = self.wanted = self.most = kept
        self._uploads.serve()
