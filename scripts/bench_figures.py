"""What the figures cost a search query: the processor time of every call that takes them down, where it happens.

Starts one worker on the simulated card in this process, and a client in another that sends queries one after the
other. Leaving the figures out changes a query by less than two runs with them differ. So every call of theirs is timed
instead, by the clock of its own thread: what the recorder takes down of a request, what it takes down of bursts and
queues, the Server-Timing header, the request's id. The clock's own time is in each call, so the sum is the most that
they cost; a call of nothing shows how much that is. Prints a Markdown table with the least of the batches, as on a
quiet machine, and their median, as on this one.
"""

import argparse
import http.client
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

from hailo_sim import Rig  # noqa: E402
from hailo_worker import Running, models_folder, running  # noqa: E402

from ml_target.api import guard, predict  # noqa: E402
from ml_target.catalogue import files  # noqa: E402
from ml_target.log.requests import set_up  # noqa: E402
from ml_target.store import Store  # noqa: E402

ENTRIES = json.dumps({"clip": {"textual": {"modelName": "ViT-B-32__openai", "options": {"language": "en"}}}})
WARM_UP = 300
NOTHING = "a call of nothing"


def body_of(text: str) -> bytes:
    """The form as Immich sends it."""
    parts = (("entries", ENTRIES), ("text", text))
    form = "".join(f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts)
    return f"{form}--x--\r\n".encode()


def send(url: str) -> None:
    """The client: it sends as many queries as each number that it is given says."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    sent = 0
    for line in sys.stdin:
        for _ in range(int(line)):
            sent += 1
            connection.request("POST", "/predict", body_of(f"a dog on beach {sent % 100}"), headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise SystemExit(answer.read())
            answer.read()
        print("done", flush=True)


class Stopwatch:
    """How often some functions were called, and for how long: nanoseconds of processor time of the calling thread."""

    def __init__(self) -> None:
        self.calls = self.ns = 0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its calls timed."""

        def call(*arguments: object) -> object:
            began = time.thread_time_ns()
            try:
                return function(*arguments)
            finally:
                self.ns += time.thread_time_ns() - began
                self.calls += 1

        return call


@contextmanager
def watched(served: Running) -> Iterator[dict[str, Stopwatch]]:
    """Meanwhile every call of each part of the figures is timed, and one of nothing: what the timing takes itself."""
    recorder = served.worker.recorder
    observers = [place.arbiter._observer for place in served.worker.places]
    parts: dict[str, list[tuple[object, str]]] = {
        "requests": [(recorder, "request")],
        "bursts and queues": [(observer, call) for observer in observers for call in ("waiting", "burst")],
        "Server-Timing": [(predict, "server_timing")],
        "id": [(guard, "give_id")],
        NOTHING: [],
    }
    watches = {part: Stopwatch() for part in parts}
    with ExitStack() as stack:
        for part, functions in parts.items():
            for owner, name in functions:
                stack.enter_context(patch.object(owner, name, watches[part].timed(getattr(owner, name))))
        nothing, request = watches[NOTHING].timed(lambda: None), recorder.request
        stack.enter_context(patch.object(recorder, "request", lambda *of: (nothing(), request(*of))))
        yield watches


Cost = tuple[float, float, float]
"""Calls of a query, and its microseconds: the least of all batches, and their median."""


def measure(batch: int, rounds: int) -> tuple[float, dict[str, Cost]]:
    """Milliseconds of processor time that a query takes the process, the least of all batches; and each part's cost."""
    with tempfile.TemporaryDirectory() as name, Path(os.devnull).open("w") as nowhere:
        with patch.object(sys, "stderr", nowhere):  # the lines are made, as in life
            set_up(logging.INFO)
        folder = Path(name)
        store = Store(folder / "wheels")
        for file in (files.OCR_DICTIONARY, files.CLIP_VOCABULARY):
            store.check(file, store.fetch(file))
        models = models_folder(folder / "wheels", folder)
        with running(Rig(clock="virtual"), models) as served, client_of(str(served.client.base_url)) as ask:
            ask(WARM_UP)
            whole, watched_for = math.inf, dict[str, list[tuple[float, float]]]()
            for _ in range(rounds):
                began = time.process_time()
                ask(batch)
                whole = min(whole, 1000 * (time.process_time() - began) / batch)
                with watched(served) as watches:
                    ask(batch)
                for part, watch in watches.items():
                    watched_for.setdefault(part, []).append((watch.calls / batch, watch.ns / 1000 / batch))
            return whole, {part: _cost(each) for part, each in watched_for.items()}


def _cost(batches: Sequence[tuple[float, float]]) -> Cost:
    calls, took = zip(*batches, strict=True)
    return median(calls), min(took), median(took)


@contextmanager
def client_of(url: str) -> Iterator[Callable[[int], None]]:
    """Sends a number of queries from another process."""
    command = [sys.executable, __file__, "--send", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None

        def ask(number: int) -> None:
            assert client.stdin is not None
            assert client.stdout is not None
            client.stdin.write(f"{number}\n")
            client.stdin.flush()
            if client.stdout.readline() != "done\n":
                raise SystemExit("the client was not answered")

        yield ask
        client.stdin.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench figures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=10, help="queries of a batch (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=100, help="batches (default: %(default)s)")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.send:
        send(chosen.send)
        return
    whole, costs = measure(chosen.batch, chosen.rounds)
    real = [cost for part, cost in costs.items() if part != NOTHING]
    calls, least, middle = (sum(each) for each in zip(*real, strict=True))
    costs["together"] = calls, least, middle
    print(f"A query takes the process {whole:.2f} ms of processor time. Of that, at most:\n")
    print("| figures | calls a query | µs, least | of the query | µs, median |\n|---|---|---|---|---|")
    for part, (calls, least, middle) in costs.items():
        print(f"| {part} | {calls:.1f} | {least:.1f} | {least / whole / 10:.1f} % | {middle:.1f} |")


if __name__ == "__main__":
    main()
