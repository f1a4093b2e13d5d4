"""What the figures cost a search query: the worker's processor time, with them and without.

Starts one worker on the simulated card in this process, and a client in another that sends queries one after the
other. Batches with everything alternate with batches in which all of it does nothing, and with --parts those in which
one part does: what the recorder takes down of a request, what it takes down of bursts and queues, the Server-Timing
header, the request's id. The least of each kind of batch counts; two rows leave nothing out, and differ by the noise.
Prints a Markdown table.
"""

import argparse
import gc
import http.client
import json
import logging
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch
from urllib.parse import urlsplit

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

from hailo_sim import Rig  # noqa: E402
from hailo_worker import Running, models_folder, running  # noqa: E402

from ml_target.api import guard, predict  # noqa: E402
from ml_target.catalogue import files  # noqa: E402
from ml_target.figures.observer import Observer  # noqa: E402
from ml_target.log.requests import set_up  # noqa: E402
from ml_target.store import Store  # noqa: E402

ENTRIES = json.dumps({"clip": {"textual": {"modelName": "ViT-B-32__openai", "options": {"language": "en"}}}})
WARM_UP = 300
PARTS = ("requests", "bursts and queues", "Server-Timing", "id")
NOTHING, AGAIN, ALL = "nothing", "nothing, once more", "all of them"


def body_of(text: str) -> bytes:
    """The form as Immich sends it."""
    parts = (("entries", ENTRIES), ("text", text))
    form = "".join(f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts)
    return f"{form}--x--\r\n".encode()


def send(url: str) -> None:
    """The client: for each number that it is given, so many queries."""
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


@contextmanager
def without(served: Running, part: str) -> Iterator[None]:
    """Meanwhile this part of the figures does nothing; NOTHING leaves all of it."""
    with ExitStack() as stack:
        if part in (ALL, "requests"):
            stack.enter_context(patch.object(served.worker.recorder, "request", lambda *_: None))
        if part in (ALL, "bursts and queues"):
            for place in served.worker.places:
                stack.enter_context(patch.object(place.arbiter, "_observer", Observer()))
        if part in (ALL, "Server-Timing"):
            stack.enter_context(patch.object(predict, "server_timing", lambda _: {}))
        if part in (ALL, "id"):
            stack.enter_context(patch.object(guard, "give_id", lambda _: "0"))
        yield


def loop_clock(ask: Callable[[int], None]) -> int:
    """The clock of the processor time that the event loop's thread has taken: there, all figures are taken down."""
    threads: set[int] = set()

    def seen(_: object) -> str:
        threads.add(threading.get_ident())
        return "0"

    with patch.object(guard, "give_id", seen):
        ask(WARM_UP)
    (thread,) = threads
    return time.pthread_getcpuclockid(thread)


def measure(batch: int, rounds: int, parts: Sequence[str]) -> tuple[float, dict[str, float]]:
    """Milliseconds of a query, the least of all batches: of the process, and of the loop's thread without each part."""
    with tempfile.TemporaryDirectory() as name, Path(os.devnull).open("w") as nowhere:
        with patch.object(sys, "stderr", nowhere):  # the lines are made, as in life
            set_up(logging.INFO)
        folder = Path(name)
        store = Store(folder / "wheels")
        for file in (files.OCR_DICTIONARY, files.CLIP_VOCABULARY):
            store.check(file, store.fetch(file))
        models = models_folder(folder / "wheels", folder)
        with running(Rig(clock="virtual"), models) as served, client_of(str(served.client.base_url)) as ask:
            clock = loop_clock(ask)
            least: dict[str, float] = {}
            whole = math.inf
            for number in range(rounds):
                for part in parts[:: 1 if number % 2 else -1]:
                    with without(served, part):
                        gc.collect()
                        began, of_process = time.clock_gettime(clock), time.process_time()
                        ask(batch)
                        took = 1000 * (time.clock_gettime(clock) - began) / batch
                        whole = min(whole, 1000 * (time.process_time() - of_process) / batch)
                    least[part] = min(took, least.get(part, math.inf))
            return whole, least


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
    parser.add_argument("--rounds", type=int, default=300, help="batches of each kind (default: %(default)s)")
    parser.add_argument("--parts", action="store_true", help="each part by itself, too")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.send:
        send(chosen.send)
        return
    parts = (NOTHING, AGAIN, *(PARTS if chosen.parts else ()), ALL)
    whole, least = measure(chosen.batch, chosen.rounds, parts)
    everything = min(least[NOTHING], least[AGAIN])
    print(f"A query takes the process {whole:.3f} ms.\n")
    print("| left out | ms of the loop's thread | it costs, of the query |\n|---|---|---|")
    for part, took in least.items():
        print(f"| {part} | {took:.3f} | {100 * (everything - took) / whole:.1f} % |")


if __name__ == "__main__":
    main()
