"""Limits on the body of a request: its length and its pace."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive

from ml_target.api.uploads import Upload
from ml_target.errors import TooLarge, TooSlow, UnusableInput

SMALL_BODY = 64 * 1024
"""Bytes that every body may hold without waiting for memory: a search query never waits."""

PACE_S, PACE_BYTES = 30, 128 * 1024
"""At least `PACE_BYTES` must arrive in every `PACE_S` seconds: a tenth of the rate of slow Wi-Fi.

A slower upload is refused: it holds a place in the queue, and memory that others may need.
"""

CROWDED_S, POLL_S = 5, 1
"""While others wait for memory, the rate is measured over `CROWDED_S`; whether they do is checked every `POLL_S`."""


def announced_size(headers: list[tuple[bytes, bytes]], limit: int) -> int:
    """The most bytes that the body may come to, from its headers; `limit` where they do not say.

    Raises TooLarge for more than `limit`, and UnusableInput for two lengths: a proxy
    on the way may believe the other one.
    """
    names = [name for name, _ in headers]
    if b"transfer-encoding" in names:
        if b"content-length" in names:
            raise UnusableInput("The request has a Content-Length and a Transfer-Encoding", "Send one of them.")
        return limit
    size = next((int(value) for name, value in headers if name == b"content-length" and value.isdigit()), 0)
    if size > limit:
        raise too_large(limit)
    return size


class Body:
    """The pieces of a request's body, bounded. It counts what arrives, whatever the headers say."""

    def __init__(self, receive: Receive, limit: int, share: Upload) -> None:
        self._receive = receive
        self._limit = limit
        self._share = share
        self.seen = 0
        self.ended = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Each piece as it arrives. Raises TooLarge, TooSlow, ClientDisconnect."""
        pace = _Pace(self._share.others_wait)
        while not self.ended:
            message = await pace.keep(self._receive)
            if message["type"] == "http.disconnect":
                self.ended = True
                raise ClientDisconnect
            piece = message.get("body", b"")
            self.seen += len(piece)
            self.ended = not message.get("more_body", False)
            if self.seen > self._limit:
                raise too_large(self._limit)
            if self.seen > SMALL_BODY:
                waiting = time.monotonic()
                await self._share.grow(self.seen)
                pace.pause(time.monotonic() - waiting)
            yield piece
        self._share.complete(self.seen)


class _Pace:
    """Checks that a body arrives fast enough. `crowded`: whether others wait for memory that it holds."""

    def __init__(self, crowded: Callable[[], bool]) -> None:
        self._crowded = crowded
        self._since = time.monotonic()
        self._arrived = 0
        self._slow: TooSlow | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def keep(self, receive: Receive) -> Message:
        """The next message. Raises TooSlow."""
        reader = asyncio.current_task()
        assert reader is not None
        self._look_later(reader)
        try:
            message = await receive()
        except asyncio.CancelledError:
            if self._slow is None:
                raise
            raise self._slow from None
        finally:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        self._arrived += len(message.get("body", b""))
        return message

    def _look_later(self, reader: "asyncio.Task[Any]") -> None:
        # A method: a function inside `keep` would refer to itself, and to the reader with all that it holds.
        self._timer = asyncio.get_running_loop().call_later(self._left(), self._look, reader)

    def _look(self, reader: "asyncio.Task[Any]") -> None:
        try:
            self._look_later(reader)
        except TooSlow as error:
            self._slow = error
            reader.cancel()  # it waits above: a timer and no task of its own, as nearly every message is there

    def _left(self) -> float:
        """Seconds until it has to be looked at again. Raises TooSlow."""
        allowed = min(CROWDED_S, PACE_S) if self._crowded() else PACE_S
        left = self._since + allowed - time.monotonic()
        if left <= 0:
            if self._arrived < (wanted := PACE_BYTES * allowed // PACE_S):
                raise TooSlow(
                    f"Less than {wanted // 1024} KiB of the upload arrived in {allowed} s",
                    "Check the network, and send it again.",
                )
            self._since, self._arrived, left = time.monotonic(), 0, allowed
        return min(left, POLL_S)

    def pause(self, seconds: float) -> None:
        """Leaves out seconds in which nothing was read here: the sender is not at fault."""
        self._since += seconds


def too_large(limit: int) -> TooLarge:
    """The refusal of a body over `limit` bytes."""
    return TooLarge(
        f"The upload exceeds {limit // 2**20} MiB", "Send a preview instead of the original, or raise MAX_UPLOAD_MB."
    )
