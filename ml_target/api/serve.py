"""`python3 -m ml_target serve`: the socket, uvicorn, the exit status."""

import argparse
import errno
import logging
import resource
import signal
import socket
from contextlib import suppress

from ml_target.api.app import create_app
from ml_target.api.server import Server
from ml_target.config import Settings
from ml_target.errors import SettingsError
from ml_target.log.requests import take_uncaught
from ml_target.log.ring import keep_last_lines
from ml_target.runtime.lifecycle import Worker
from ml_target.system import allocator

log = logging.getLogger(__name__)

DESCRIPTION = """Serves Immich over HTTP until it is told to stop (Ctrl-C, SIGTERM). This is the default command.

In Immich, under Administration > Settings > Machine Learning Settings, the URL is then http://HOST:3003. The log
says at the start which tasks are on and which are off, and why; GET /status says it at any time.
It takes no options. Settings come from environment variables; with a bad value it does not start, and says why.

examples:
  %(prog)s
  CLIP_BACKEND=siglip IMMICH_PORT=3004 %(prog)s
  docker run ... -e CLIP_BACKEND=siglip immich-ml-hailo:v4.23.0

Exit code: 0 it was told to stop, 1 it could not start; the last line of its log says why."""

DESCRIPTORS = 200
"""File descriptors needed besides one for each connection: model files, threads' pipes, the log."""

KEPT_IDLE = 1024
"""Connections beyond those of MAX_WAITING: clients keep them for their next request."""

MIN_CONNECTIONS = 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds none."""
    parser.description = DESCRIPTION


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Serves, with the log's last lines kept for the report. Returns the exit code that `DESCRIPTION` explains."""
    take_uncaught()
    keep_last_lines(settings.port)
    return serve(settings)


def serve(settings: Settings) -> int:
    """Serves until it is told to stop. Returns 0, or 1 when the worker could not start."""
    prepare_process(settings.max_waiting)
    listener = listen(settings.host, settings.port)
    worker = Worker(settings)
    log.info("listening on %s port %d", settings.host, settings.port)
    server = build_server(worker)
    # For the time before uvicorn handles signals, and for the signal it raises again after an orderly end.
    signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
    with suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    return 1 if worker.state == "failed" else 0


def build_server(worker: Worker) -> Server:
    """uvicorn around one worker; it stops when the worker cannot start."""

    def stop() -> None:
        server.should_exit = True

    app = create_app(worker, on_failure=stop)
    most = most_connections(worker.settings.max_waiting)
    server = Server(app, app.state.in_flight, worker.settings.keep_alive_s, most)
    return server


def most_connections(max_waiting: int) -> int:
    """How many connections the process may have file descriptors for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max_waiting + KEPT_IDLE
    return wanted if soft == resource.RLIM_INFINITY else max(MIN_CONNECTIONS, min(wanted, soft - DESCRIPTORS))


def prepare_process(max_waiting: int) -> None:
    """Freed memory is kept for the next picture, and there are file descriptors for every connection."""
    allocator.tune()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft != resource.RLIM_INFINITY and soft < max_waiting + DESCRIPTORS:
        log.warning(
            "only %d file descriptors are allowed, too few for MAX_WAITING=%d: raise `ulimit -n`", soft, max_waiting
        )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, with TCP_NODELAY: without it each small answer would wait 40 ms."""
    listener = _listen(host, port)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; `[::]` takes IPv4 too, and means IPv4 alone where there is no IPv6."""
    bare = host.strip("[]")
    try:
        if bare == "::" and socket.has_dualstack_ipv6():
            return socket.create_server((bare, port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=2048)
        if bare == "::":
            bare = "0.0.0.0"
        family = socket.AF_INET6 if ":" in bare else socket.AF_INET
        return socket.create_server((bare, port), family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(
                f"Port {port} is taken by another program", "Stop it, or set IMMICH_PORT to a free port."
            ) from error
        raise SettingsError(
            f"Cannot listen on {host} port {port} ({error})", "Correct IMMICH_HOST or IMMICH_PORT."
        ) from error
