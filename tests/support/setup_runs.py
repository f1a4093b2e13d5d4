"""How runs of setup.sh end, what they change, and the worker that they wait for."""

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

ALL = [
    "build hailo-base:v4.23.0",
    "build immich-ml-hailo:v4.23.0-slim",
    "fetch",
    "build immich-ml-hailo:v4.23.0",
    "run -d",
]
"""What a first run changes, in its order; CPU: without a card; REPLACED: a run that makes the container anew."""
CPU = ["build immich-ml-hailo:cpu-slim", "fetch", "build immich-ml-hailo:cpu", "run -d"]
REPLACED = ["stop", "rename", "run -d", "rm"]

CONFINED = shlex.split("--read-only -v /tmp --cap-drop all --security-opt no-new-privileges --pids-limit 4096")
"""How every container is started."""


class Done:
    """How a run has ended. `refused`: it ended with words on standard error, not by accident."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def refused(self) -> bool:
        return self.code == 1 and "\nsetup.sh: " in self.err

    @property
    def reason(self) -> str:
        """The line that says what went wrong."""
        return self.err.rpartition("\nsetup.sh: ")[2].splitlines()[0]

    @property
    def remedy(self) -> str:
        """What stands below it, each line closed up."""
        return "\n".join(line.strip() for line in self.err.rpartition("\nsetup.sh: ")[2].splitlines()[1:])


class Worker:
    """Answers /ping on a port of this machine, at first as often as told that it is not ready."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.not_ready = 0


@contextmanager
def answering() -> Iterator[Worker]:
    """A worker on a free port, up until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

        def do_GET(self) -> None:
            ready = self.path == "/ping" and worker.not_ready == 0
            worker.not_ready = max(0, worker.not_ready - 1)
            self.send_response(200 if ready else 503)
            self.end_headers()
            self.wfile.write(b"pong" if ready else b"loading")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    worker = Worker(server.server_port)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield worker
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
