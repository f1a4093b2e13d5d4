"""uvicorn around the application: which connections it keeps, and how it stops."""

import asyncio
import logging
import os
import socket
import sys
import threading
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from ml_target.api.connections import Connection, OpenConnections
from ml_target.api.guard import Guard
from ml_target.api.inflight import LINGER_S, InFlight

log = logging.getLogger(__name__)

PATIENCE_S = 15.0
"""Seconds after SIGTERM in which requests still get their own answers; those left then get 503."""

CARRY_S = LINGER_S + 2
"""Seconds that the connections then have to deliver the answers."""

LEAVE_S = 25.0
"""Seconds from SIGTERM to the end of the process at the latest. `docker stop` and the Compose files wait for 30."""

ACCEPT_AT_A_TIME, BACKLOG = 64, 2048
"""Connections accepted before others get their turn, and those that the system holds until then."""


class Server(uvicorn.Server):
    """Answers the requests it has before it ends. A second signal ends it at once, with answers all the same."""

    def __init__(self, app: ASGIApp, in_flight: InFlight, keep_alive_s: int, connections: int) -> None:
        self.open_connections = OpenConnections(connections)
        self._in_flight = in_flight
        self._hurry = False
        self._leaving: threading.Timer | None = None
        config = uvicorn.Config(
            Guard(app, lambda: self.should_exit),
            # h11, which connections.py extends, even where httptools is installed.
            http=type("Served", (Connection,), {"open_connections": self.open_connections}),
            loop="asyncio",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=ACCEPT_AT_A_TIME,
            timeout_keep_alive=keep_alive_s,
            timeout_graceful_shutdown=round(PATIENCE_S + CARRY_S) + 1,
        )
        super().__init__(config)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self._hurry = True
        self.should_exit = True
        self._captured_signals.append(sig)
        if self._leaving is None:
            self._leaving = threading.Timer(LEAVE_S, leave)
            self._leaving.daemon = True
            self._leaving.start()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().set_exception_handler(self.open_connections.on_loop_error)
        for listener in sockets or ():
            listener.listen(BACKLOG)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        ending = asyncio.ensure_future(self._end())
        await super().shutdown(sockets)
        await ending

    async def _end(self) -> None:
        await self._in_flight.stop(PATIENCE_S, lambda: self._hurry)
        until = asyncio.get_running_loop().time() + CARRY_S
        while self.server_state.connections and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.05)
        self.open_connections.abort()


def leave() -> None:
    """Ends a process in which something hangs: a decoder, a device, a file being read."""
    log.warning("the worker leaves with work undone that could not be interrupted")
    sys.stderr.flush()
    os._exit(0)
