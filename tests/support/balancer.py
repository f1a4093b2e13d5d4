"""HAProxy with the project's own configuration, in front of worker processes, and what its log says of each request."""

import csv
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import debian
import httpx
import numpy as np
from hailo_worker import Ask, wait_until
from project import PROJECT
from worker_process import environment, free_port

CONFIGURATION = PROJECT / "docs" / "examples" / "haproxy.cfg"
NEVER_REPEATED = re.sub(r"\n *retry-on [^\n]*", "", CONFIGURATION.read_text(encoding="utf-8"))
"""The same configuration with HAProxy's default: only what could not be sent goes to another worker."""


PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that speak plain HTTP: by itself each would read all certificates that this machine trusts first, which
costs more than a request.
"""


def find_haproxy() -> str:
    """HAProxy's path. Skips where there is none."""
    return debian.program("haproxy", "haproxy")


class WorkerProcess:
    """`python3 -m ml_target` on a port of its own, which it keeps when it is started again."""

    def __init__(
        self, log: Path, settings: Mapping[str, str], host: str = "127.0.0.1", inside: Sequence[str] = ()
    ) -> None:
        self.address = f"{host}:{free_port()}"
        self._log = log
        self._inside = inside
        self._settings = {"IMMICH_HOST": host, "IMMICH_PORT": self.address.rpartition(":")[2], **settings}
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = False

    @property
    def runs(self) -> bool:
        """Up until it ends by itself, or is told to."""
        return self._process is not None and self._process.poll() is None and not self._ending

    def start(self) -> None:
        """Waits for the end of the one before."""
        if self._process is not None:
            self._process.wait(60)
        self._ending = False
        with self._log.open("ab") as stream:
            self._process = subprocess.Popen(
                [*self._inside, sys.executable, "-m", "ml_target"],
                env=environment(**self._settings),
                cwd=PROJECT,
                stdout=stream,
                stderr=stream,
            )

    def wait_ready(self) -> None:
        wait_until(lambda: ping(self.address) == 200, 60)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)

    def stop(self) -> None:
        """SIGTERM, as `docker stop` sends it; does not wait."""
        assert self._process is not None
        self._ending = True
        self._process.terminate()

    def log(self) -> str:
        return self._log.read_text()


def ping(address: str) -> int:
    """The status of /ping, 0 when nobody answers."""
    try:
        return httpx.get(f"http://{address}/ping", timeout=5, trust_env=False, verify=PLAIN).status_code
    except httpx.TransportError:
        return 0


LINE = re.compile(
    r" immich \w+/(?P<server>\S+) -?\d+/-?\d+/(?P<connect>-?\d+)/-?\d+/\+?\d+ -?\d+ \S+ \S+ \S+ "
    r"(?P<state>\S{4}) \S+/(?P<again>\+?\d+) \S+ \"POST /predict\?n=(?P<name>\S+) "
)


@dataclass(frozen=True)
class Passage:
    """What HAProxy says of a request. `reached`: `server` took the connection. `state`: how the session ended."""

    server: str
    reached: bool
    state: str
    again: int


@dataclass
class Balancer:
    """A running HAProxy."""

    address: str
    statistics: str
    _log: Path

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def passages(self) -> dict[str, Passage]:
        """By the name of the request."""
        return {
            found["name"]: Passage(found["server"], int(found["connect"]) >= 0, found["state"], int(found["again"]))
            for found in LINE.finditer(self.said())
        }

    def wait_for_change(self, server: str, to: str, cause: Callable[[], None]) -> None:
        """Brings it about, then waits until HAProxy has seen that the worker is now "UP" or "DOWN"."""
        other = "DOWN" if to == "UP" else "UP"
        wait_until(lambda: self.counters(server)["status"].startswith(other), 60)
        words = f"Server workers/{server} is {to}"
        before = self.said().count(words)
        cause()
        wait_until(lambda: self.said().count(words) > before, 60)

    def counters(self, server: str) -> dict[str, str]:
        """The figures of a worker on HAProxy's own page; wretr: requests repeated, wredis: sent to another one."""
        page = httpx.get(f"http://{self.statistics}/;csv", trust_env=False, verify=PLAIN).text
        names, *rows = csv.reader(page.splitlines())  # some words of a check have commas in them
        return next(dict(zip(names, row, strict=True)) for row in rows if row[:2] == ["workers", server])


@contextmanager
def balancing(
    program: str, folder: Path, workers: Mapping[str, WorkerProcess], configuration: str | None = None
) -> Iterator[Balancer]:
    """HAProxy in front of the workers, by the configuration's names for them."""
    file = folder / "haproxy.cfg"
    file.write_text(configuration or CONFIGURATION.read_text(encoding="utf-8"), encoding="utf-8")
    shutil.copy(CONFIGURATION.with_name("hold.lua"), folder)
    balancer = Balancer(f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}", folder / "haproxy.log")
    variables = {
        "LISTEN": balancer.address,
        "STATISTICS": balancer.statistics,
        **{f"WORKER_{n}": worker.address for n, worker in enumerate(workers.values(), 1)},
    }
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([program, "-f", file], env={**os.environ, **variables}, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or ping(balancer.address) == 200, 60)
        assert process.poll() is None, balancer.said()
        yield balancer
    finally:
        process.kill()
        process.wait(20)


# ------------------------------------------------------------------- clients


@dataclass
class Reply:
    """What a client got. `status` 0: the connection ended without a whole answer."""

    name: str
    kind: str
    status: int
    sent: float
    seconds: float
    right: bool


@dataclass
class Clients:
    """Clients that ask in a closed loop, each on connections of its own, as Immich does. `rest`: seconds in between."""

    address: str
    asks: list[Ask]
    expected: dict[str, dict[str, Any]]
    count: int = 8
    label: str = "r"
    rest: float = 0.0
    replies: list[Reply] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Clients":
        self._threads = [threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(self.count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(90)
            assert not thread.is_alive(), "a request was never answered"

    def wait_for(self, further: int, seconds: float = 60) -> None:
        """Until so many more requests have been answered."""
        goal = len(self.replies) + further
        wait_until(lambda: len(self.replies) >= goal, seconds)

    def _client(self, number: int) -> None:
        turn = number
        while not self._stop.is_set():
            turn += 1
            ask = self.asks[turn % len(self.asks)]
            self.replies.append(send(self.address, ask, f"{self.label}-{number}-{turn}", self.expected[ask.name]))
            self._stop.wait(self.rest)


def send(address: str, ask: Ask, name: str, expected: dict[str, Any]) -> Reply:
    """One request, on a connection of its own, with a name that HAProxy's log repeats."""
    sent = time.monotonic()
    status, right = 0, False
    with httpx.Client(
        base_url=f"http://{address}", timeout=80, params={"n": name}, trust_env=False, verify=PLAIN
    ) as client:
        try:
            response = ask.send(client)
            status = response.status_code
            right = status == 200 and agree(response.json(), expected)
        except httpx.TransportError:
            pass
    return Reply(name, ask.name.partition(" ")[0], status, sent, time.monotonic() - sent, right)


def agree(answer: dict[str, Any], expected: dict[str, Any]) -> bool:
    """The same answer; a vector may differ in its last digits, for bursts of another size add up in another order."""
    answer, expected = dict(answer), dict(expected)
    got, wanted = (json.loads(each.pop("clip", "[0]")) for each in (answer, expected))
    return answer == expected and np.allclose(got, wanted, atol=1e-5)
