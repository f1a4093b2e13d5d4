"""Connections: how many, how long one may stay without a request, and what happens when descriptors run out."""

import asyncio
import errno
import logging
import socket
import time
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from ml_target.api.guard import DROPPING

log = logging.getLogger(__name__)

HEAD_S = 10.0
"""Seconds from a request's first byte until its head must be complete, or the rest of a refused body dropped."""

UNREAD_S = 30.0
"""Seconds after which a client that has not read all of its answer counts as gone."""

MAX_READ, FIRST_READ, MIN_READ = 64 * 1024, 4 * 1024, 512
"""Bytes that are read at a time: few at first, then as many as can be processed in `TURN_S`.

A chunk may be a single byte, and each costs the event loop a dozen microseconds.
"""

TURN_S = 0.002

FASTER = 4
"""How many times as many are read next time, where the last were processed in half of that."""

QUIET_S = 60.0
"""Seconds between two log lines about a shortage."""

AGAIN_S = 0.1

LOST = "ml_target.lost"
"""Key in the scope of a request: a future that is done as soon as its connection is lost."""

REFUSED = b'{"detail":"The worker has as many connections as it can hold. Send it again later."}'
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
REFUSAL += b"Content-Length: %d\r\n\r\n" % len(REFUSED) + REFUSED


class OpenConnections:
    """All open connections of one server, at most `most`.

    To make room, connections that never carried a request are closed first, then those kept alive for the next one;
    of each kind, the one that has been idle longest.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: set[Connection] = set()
        self._said = self._made_room = -QUIET_S

    def add(self, connection: "Connection") -> bool:
        """Whether there is room for it; a connection without a request may be closed to make some."""
        if len(self._open) >= self._most and not self.make_room():
            return False
        self._open.add(connection)
        return True

    def discard(self, connection: "Connection") -> None:
        self._open.discard(connection)

    def make_room(self) -> bool:
        """Closes a connection on which no request is being served. False when there is none."""
        self._say(f"{len(self._open)} connections are open: those without a request are closed. Is a client in a loop?")
        dispensable = [connection for connection in self._open if connection.dispensable]
        if not dispensable:
            return False
        self._made_room = time.monotonic()
        chosen = min(dispensable, key=lambda connection: (connection.has_served, connection.idle_since))
        self.discard(chosen)
        chosen.abort()
        return True

    def abort(self) -> None:
        """Closes every connection, answered or not."""
        for connection in list(self._open):
            connection.abort()

    def on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The event loop's exception handler: without descriptors the loop complains many times a second."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            self._say(
                f"no connection can be accepted ({error.strerror}): raise `ulimit -n`. "
                "Those that wait are served later."
            )
            if time.monotonic() - self._made_room > AGAIN_S:  # a closed descriptor takes a moment to become free
                self.make_room()
            return
        loop.default_exception_handler(context)

    def _say(self, words: str) -> None:
        now = time.monotonic()
        if now - self._said >= QUIET_S:
            self._said = now
            log.warning(words)


class Connection(H11Protocol):
    """uvicorn's connection, closed when no request arrives on it. Reads little at a time, so that others get a turn."""

    open_connections: OpenConnections
    """Set on the subclass that a server uses."""

    idle_since = 0.0
    has_served = False
    _timer: asyncio.TimerHandle | None = None
    _piece = FIRST_READ
    _in_head = False
    _refused = False

    @property
    def idle(self) -> bool:
        """No request is being served."""
        return self.cycle is None or bool(self.cycle.response_complete)

    @property
    def dispensable(self) -> bool:
        """Nobody loses an answer when it is closed: it is idle, or only the rest of a refused body is read."""
        return self.idle or DROPPING in self.cycle.scope

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._lost: asyncio.Future[None] = self.loop.create_future()
        self.idle_since = self.loop.time()
        self._read_at_most(FIRST_READ)
        if self.open_connections.add(self):
            self._timer = self.loop.call_later(self.timeout_keep_alive, self.abort)
            return
        self._refused = True
        transport.write(REFUSAL)
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open_connections.discard(self)
        self._cancel_timer()
        super().connection_lost(exc)
        self._lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not self.idle and not self.cycle.more_body:
            # Another request, sent before this one's answer. uvicorn would queue these without limit;
            # no client of ours sends them, and HTTP lets a server answer the first one and close.
            self.cycle.keep_alive = False
            return
        begun = time.perf_counter()
        super().data_received(data)
        if not self.idle:
            self._in_head = False
            self._cancel_timer()
            self._read_at_most(self._piece * FASTER if time.perf_counter() - begun < TURN_S / 2 else self._piece // 2)
            if not self.cycle.more_body:
                if self.conn.trailing_data[0]:  # as above, in one piece with this one
                    self.cycle.keep_alive = False
                self.flow.resume_reading()  # else nobody would see that the client goes
                self._cork(True)
        elif not self._in_head:
            self._in_head = True
            self._cancel_timer()
            self._timer = self.loop.call_later(HEAD_S, self.abort)

    def handle_events(self) -> None:
        super().handle_events()
        if self.cycle is not None:
            cast(dict[str, Any], self.cycle.scope)[LOST] = self._lost

    def on_response_complete(self) -> None:
        self._cork(False)
        super().on_response_complete()
        self.has_served = True
        self.idle_since = self.loop.time()
        self._read_at_most(FIRST_READ)
        if self.transport.get_write_buffer_size():
            self.loop.call_later(UNREAD_S, self._abort_unread)

    def abort(self) -> None:
        """Closes it at once, answered or not."""
        self.transport.abort()

    def _abort_unread(self) -> None:
        if self.transport.get_write_buffer_size():
            self.abort()

    def _read_at_most(self, size: int) -> None:
        self._piece = max(MIN_READ, min(size, MAX_READ))
        # asyncio's transports read up to `max_size` bytes, 256 KiB by default.
        setattr(self.transport, "max_size", self._piece)  # noqa: B010 - no type has it

    def _cork(self, corked: bool) -> None:
        """Lets the head of an answer leave with its body: one packet, for which the client wakes once."""
        if not self.transport.is_closing():
            self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, corked)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
