"""A worker process with stand-in tasks that take their time: `slow_worker.py '{"delay": 1, "loading": 0, "set": {…}}'`.

`set`: constants by their full name, as tests want them shorter.
"""

import importlib
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import httpx

TESTS = Path(__file__).resolve().parent


AT_WORK = "a task is at work"
"""What the process says of every task that begins."""


@dataclass
class SlowWorker:
    """The process, its address and what it has said."""

    process: "subprocess.Popen[str]"
    port: int
    said: list[str] = field(default_factory=list)
    listening: Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return "".join(self.said)

    def hear_all(self) -> None:
        """Waits for the last words of a process that has ended."""
        assert self.listening is not None
        self.listening.join(30)

    def wait_for(self, words: str, seconds: float = 30, *, count: int = 1) -> None:
        """Until the log says so, `count` times."""
        end = time.monotonic() + seconds
        while self.log.count(words) < count:
            assert time.monotonic() < end, f"no {words!r} in {self.log}"
            time.sleep(0.02)

    def answers(self, path: str) -> int:
        try:
            return httpx.get(self.url + path, timeout=10, verify=False).status_code
        except httpx.TransportError:
            return 0


@contextmanager
def slow_worker(
    *,
    delay: float = 0,
    loading: float = 0,
    stuck: float = 0,
    descriptors: int = 0,
    real: bool = False,
    constants: dict[str, Any] | None = None,
    **settings: str,
) -> Iterator[SlowWorker]:
    """A worker that listens. `delay`: seconds an answer takes; `stuck`: those that a thread takes for it besides.

    `descriptors`: it may have only so many. `real`: it serves the models of its settings.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(TESTS.parents[1]), str(TESTS))),
        "ENGINE": "cpu",
        "IMMICH_HOST": "127.0.0.1",
        "IMMICH_PORT": str(port),
        **settings,
    }
    wanted = {
        "delay": delay,
        "loading": loading,
        "stuck": stuck,
        "fds": descriptors,
        "real": real,
        "set": constants or {},
    }
    command = [sys.executable, str(Path(__file__)), json.dumps(wanted)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        worker = SlowWorker(process, port)
        assert process.stderr is not None
        worker.listening = Thread(target=lambda: worker.said.extend(iter(process.stderr.readline, "")))  # type: ignore[union-attr]
        worker.listening.start()
        try:
            end = time.monotonic() + 60
            while worker.answers("/ping" if not loading else "/") != 200:
                assert process.poll() is None, worker.log
                assert time.monotonic() < end, worker.log
                time.sleep(0.05)
            yield worker
        finally:
            process.kill()
            process.wait(30)
            worker.hear_all()


def main() -> int:
    from serving import FakeTasks, fake_services

    from ml_target.__main__ import main as run
    from ml_target.runtime.lifecycle import Worker
    from ml_target.runtime.registry import Services

    wanted = json.loads(sys.argv[1])
    for name, value in wanted["set"].items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)

    if wanted["fds"]:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted["fds"], wanted["fds"]))

    class Tasks(FakeTasks):
        def __init__(self, worker: Worker) -> None:
            super().__init__(wanted["delay"])
            self._worker = worker

        async def _work(self) -> None:
            print(AT_WORK, file=sys.stderr, flush=True)
            if wanted["stuck"]:
                await self._worker.pool.run(time.sleep, wanted["stuck"])
            await super()._work()

    def load(worker: Worker) -> Services:
        time.sleep(wanted["loading"])
        return fake_services(Tasks(worker))

    if not wanted["real"]:
        Worker._from_files = load  # type: ignore[method-assign, assignment]
    return run([])


if __name__ == "__main__":
    sys.exit(main())
