"""The worker as a process of its own: `python3 -m ml_target` on a free port."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from project import PROJECT


def environment(**settings: str) -> dict[str, str]:
    """The environment of a process that serves on the CPU, and nothing of the machine's own settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "VIRTUAL_ENV") if name in os.environ}
    return {**kept, "PYTHONPATH": str(PROJECT), "ENGINE": "cpu", **settings}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(log: Path, **settings: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """`python3 -m ml_target` on a free port, its log in a file."""
    port = free_port()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "ml_target"],
            env=environment(IMMICH_PORT=str(port), **settings),
            cwd=PROJECT,
            stdout=stream,
            stderr=stream,
        )
        try:
            yield process, port
        finally:
            process.kill()
            process.wait(20)


def wait_for_ping(port: int) -> None:
    """Until the worker answers; a minute at most."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ping", verify=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the worker did not become ready")
