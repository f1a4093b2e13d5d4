"""Connections: how many, how long one may stay without a request, and what happens when descriptors run out."""

import asyncio
import errno
import logging
import time
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)

HEAD_S = 10.0
"""A request's head has to be complete so long after its first byte."""

UNREAD_S = 30.0
"""A client that has not taken all of its answer by then has gone."""

WHOLE, CHUNKED = 64 * 1024, 4 * 1024
"""Bytes that are read at a time. Chunks may be a byte each, and every one of them costs the event loop 15 µs."""

QUIET_S = 60.0
"""The log hears of a shortage once in so many seconds."""

AGAIN_S = 0.1

REFUSED = b'{"detail":"The worker has as many connections as it can hold. Send it again later."}'
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
REFUSAL += b"Content-Length: %d\r\n\r\n" % len(REFUSED) + REFUSED


class Crowd:
    """All connections of one server. At most `most` stay: the one that has waited longest for a request goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._there: dict[Connection, None] = {}  # in the order in which they came
        self._said = self._made_room = -QUIET_S

    def add(self, connection: "Connection") -> bool:
        """Whether there is room for it, which one without a request may have to make."""
        if len(self._there) >= self._most and not self.make_room():
            return False
        self._there[connection] = None
        return True

    def discard(self, connection: "Connection") -> None:
        self._there.pop(connection, None)

    def make_room(self) -> bool:
        """Closes a connection on which no request is being served. False when there is none."""
        self._say(
            f"{len(self._there)} connections are open: those without a request are closed. Is a client in a loop?"
        )
        idle = next((connection for connection in self._there if connection.idle), None)
        if idle is None:
            return False
        self._made_room = time.monotonic()
        self.discard(idle)
        idle.abort()
        return True

    def abort(self) -> None:
        """Ends every connection, answered or not."""
        for connection in list(self._there):
            connection.abort()

    def on_trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The event loop's exception handler: without descriptors the loop complains many times a second."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            self._say(
                f"no connection can be accepted ({error.strerror}): raise `ulimit -n`. "
                "Those that wait are served later."
            )
            if time.monotonic() - self._made_room > AGAIN_S:  # what is closed is free only in a moment
                self.make_room()
            return
        loop.default_exception_handler(context)

    def _say(self, words: str) -> None:
        now = time.monotonic()
        if now - self._said >= QUIET_S:
            self._said = now
            log.warning(words)


class Connection(H11Protocol):
    """uvicorn's connection, closed when no request comes of it, reading little enough for others to get their turn."""

    crowd: Crowd
    """Set on the class that a server uses."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = False
    _refused = False

    @property
    def idle(self) -> bool:
        """No request is being served."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._read_at_most(CHUNKED)
        if self.crowd.add(self):
            self._timer = self.loop.call_later(self.timeout_keep_alive, self.abort)
            return
        self._refused = True
        transport.write(REFUSAL)
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.crowd.discard(self)
        self._keep()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        if not self.idle:
            self._in_head = False
            self._keep()
            self._read_at_most(CHUNKED if self._chunked() else WHOLE)
            if self.conn.their_state is h11.DONE and self.conn.trailing_data[0]:
                # Another request, sent before this one's answer. uvicorn would gather such without bound;
                # no client of ours sends them, and HTTP lets a server answer the first one and close.
                self.cycle.keep_alive = False
        elif not self._in_head:
            self._in_head = True
            self._keep()
            self._timer = self.loop.call_later(HEAD_S, self.abort)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._read_at_most(CHUNKED)
        if self.transport.get_write_buffer_size():
            self.loop.call_later(UNREAD_S, self._abort_unread)

    def abort(self) -> None:
        """Ends it at once, answered or not."""
        self.transport.abort()

    def _abort_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.abort()

    def _chunked(self) -> bool:
        return any(name == b"transfer-encoding" for name, _ in self.headers or ())

    def _read_at_most(self, size: int) -> None:
        # asyncio's transports read up to `max_size` bytes, 256 KiB by themselves.
        setattr(self.transport, "max_size", size)  # noqa: B010 - no type has it

    def _keep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
