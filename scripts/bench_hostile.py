"""What one hostile client can do to the others: bodies, texts, slow uploads, connections, and stopping.

Starts its own worker on the processor, with tiny towers (tests/support/light_towers.py) or with the models in a folder
(--models). Runs each case, and meanwhile sends pings as Immich does. "peak" is the worker's largest resident memory
during the case, minus what it held before; "held" is what is left of that five seconds later. The first row is an
ordinary photo, for comparison. Prints a Markdown table.
"""

import argparse
import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

from bench_device import quantile  # noqa: E402
from bench_requests import forget_peak, peak_megabytes  # noqa: E402
from light_towers import light_models  # noqa: E402
from slow_worker import SlowWorker, slow_worker  # noqa: E402

from ml_target.catalogue.files import CLIP_VOCABULARY  # noqa: E402
from ml_target.store import Store  # noqa: E402

MB, MIB = 10**6, 2**20
TEXTUAL = b'{"clip":{"textual":{"modelName":"ViT-B-32__openai"}}}'
VISUAL = b'{"clip":{"visual":{"modelName":"ViT-B-32__openai"}}}'
FORM = "multipart/form-data; boundary=b"
TIMEOUT_S = 120
PING_S = 0.02


# ------------------------------------------------------------------ requests


def part(head: str, content: bytes) -> bytes:
    return f"--b\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"


def photo() -> bytes:
    """An ordinary preview: 1440 x 1080."""
    pixels = np.random.default_rng(1).integers(0, 255, (54, 72, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).resize((1440, 1080)).save(stream, "JPEG", quality=85)
    return stream.getvalue()


PHOTO = part('name="entries"', VISUAL) + part('name="image"; filename="blob"', photo()) + b"--b--\r\n"


def text_form(text: bytes, filename: str = "") -> bytes:
    return part('name="entries"', TEXTUAL) + part(f'name="text"{filename}', text) + b"--b--\r\n"


def head(length: int | None, kind: str = FORM, more: str = "") -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n{framing}\r\n{more}\r\n".encode()


def connect(worker: SlowWorker) -> socket.socket:
    return socket.create_connection(("127.0.0.1", worker.port), timeout=TIMEOUT_S)


def status_of(connection: socket.socket) -> str:
    """The status of the answer, with its first words if it is not 200; "closed" if none comes."""
    answer = b""
    try:
        while not answer.endswith((b"}", b"pong")) and (piece := connection.recv(65536)):
            answer += piece
    except OSError:
        pass
    if not answer:
        return "closed"
    status, detail = (
        answer.split(b" ", 2)[1].decode(),
        answer.rpartition(b'"detail":"')[2][:40].decode("utf-8", "replace"),
    )
    return status if status == "200" else f"{status} {detail}…"


def send(worker: SlowWorker, *pieces: bytes) -> str:
    """Sends as much as the worker accepts; the answer may come before the end."""
    with connect(worker) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass
        return status_of(connection)


def chunked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    for piece in pieces:
        yield b"%x\r\n" % len(piece) + piece + b"\r\n"
    yield b"0\r\n\r\n"


def whole(worker: SlowWorker, body: bytes, kind: str = FORM) -> str:
    return send(worker, head(len(body), kind), body)


# --------------------------------------------------------------------- cases


def lying_length(worker: SlowWorker) -> str:
    """Twelve bodies of 120 MiB that say they have one byte."""
    return twelve(worker, head(None, more="Content-Length: 1\r\n"), 120)


def endless_chunks(worker: SlowWorker) -> str:
    """Twelve bodies that do not say how long they are, beyond the limit."""
    return twelve(worker, head(None), 200)


def twelve(worker: SlowWorker, begin: bytes, mebibytes: int) -> str:
    first = part('name="image"; filename="i"', b"")[:-2]

    def one() -> str:
        return send(worker, begin, *chunked(iter([first, *[bytes(MIB)] * mebibytes])))

    with ThreadPoolExecutor(12) as pool:
        return ", ".join(sorted({answer.result() for answer in [pool.submit(one) for _ in range(12)]}))


def single_bytes(worker: SlowWorker) -> str:
    body = text_form(b"cat", '; filename="t"')
    body = part('name="other"; filename="o"', bytes(300_000 - len(body))) + body
    return send(worker, head(None), b"".join(chunked(body[at : at + 1] for at in range(len(body)))))


def near_boundaries(worker: SlowWorker) -> str:
    return whole(worker, part('name="image"; filename="i"', b"\r\n--bx" * (20 * MB // 6)))


def trickles(worker: SlowWorker, seconds: float = 45) -> str:
    """Five clients declare 128 MiB and send a byte now and then, beside ordinary photos."""
    with ExitStack() as opened:
        slow = [opened.enter_context(connect(worker)) for _ in range(5)]
        for connection in slow:
            connection.sendall(head(128 * MIB) + part('name="image"; filename="i"', b"")[:-2])
        end, times = time.monotonic() + seconds, []
        answers: dict[int, str] = {}
        while len(answers) < 5 and time.monotonic() < end:
            started = time.monotonic()
            assert whole(worker, PHOTO) == "200"
            times.append(time.monotonic() - started)
            for number, connection in enumerate(slow):
                connection.settimeout(0.01)
                try:
                    connection.sendall(b"x")
                    if connection.recv(1, socket.MSG_PEEK):
                        answers[number] = status_of(connection)
                except TimeoutError:
                    continue
            time.sleep(0.9)
        words = ", ".join(sorted(set(answers.values()))) or "held"
        return f"{words}; photos beside {quantile(times, 0.5):.0f} ms, worst {max(times) * 1000:.0f}"


def half_uploads(worker: SlowWorker) -> str:
    """Eight clients send 100 of 128 MiB and then nothing: the room is full. Photos beside them still come in."""
    with ExitStack() as opened:
        slow = [opened.enter_context(connect(worker)) for _ in range(8)]
        for connection in slow:
            connection.sendall(head(128 * MIB) + part('name="image"; filename="i"', b"")[:-2])
            connection.settimeout(2)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(_fill, slow))
        started = time.monotonic()
        beside = whole(worker, PHOTO)
        return f"{beside} beside, after {time.monotonic() - started:.1f} s"


def _fill(connection: socket.socket) -> None:
    try:
        for _ in range(100):
            connection.sendall(bytes(MIB))
    except OSError:
        pass


def pipelined(worker: SlowWorker) -> str:
    """A client that sends endless requests and reads no answer."""
    with connect(worker) as connection:
        connection.settimeout(5)
        try:
            for _ in range(300):
                connection.sendall((head(len(PHOTO)) + PHOTO) * 3)
        except OSError:
            pass
        return status_of(connection)


def half_heads(worker: SlowWorker) -> str:
    """More idle connections than the worker allows, beside a photo."""
    with ExitStack() as opened:
        for _ in range(900):
            opened.enter_context(connect(worker)).sendall(b"POST /predict HT")
        return f"{whole(worker, PHOTO)} beside"


def words(size: int) -> bytes:
    choose = random.Random(2)
    return " ".join(choose.choice(("beach", "dog", "sunset", "two", "of", "my")) for _ in range(size)).encode()[:size]


CASES: dict[str, Callable[[SlowWorker], str]] = {
    "a photo": lambda w: whole(w, PHOTO),
    "a query": lambda w: whole(w, text_form(b"a dog on the beach")),
    "length 1 and chunks, 12 × 120 MiB": lying_length,
    "chunks without end, 12 at once": endless_chunks,
    "text as a file, 20 MiB": lambda w: whole(w, text_form(bytes(20 * MIB).replace(b"\0", b"a"), '; filename="t"')),
    "text as a field, 1 MB": lambda w: whole(w, text_form(b"a" * MB)),
    "text of 64,000 letters": lambda w: whole(w, text_form(words(64_000))),
    "one word of 64,000 letters": lambda w: whole(w, text_form(b"qxzkjv" * 10_667)),
    "entries as a file, 120 MB of 0xFF": lambda w: whole(w, part('name="entries"; filename="e"', b"\xff" * 120 * MB)),
    "charset=punycode": lambda w: whole(w, PHOTO, f"{FORM}; charset=punycode"),
    "charset=undefined": lambda w: whole(w, PHOTO, f"{FORM}; charset=undefined"),
    "300,000 chunks of one byte": single_bytes,
    "20 MB of almost boundaries": near_boundaries,
    "five trickling uploads": trickles,
    "eight uploads that stop after 100 MiB": half_uploads,
    "requests before their answers": pipelined,
    "900 connections without a request": half_heads,
}


# ------------------------------------------------------------------- measure


PINGER = """
import json, socket, sys, threading, time
seen, end = [], threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), end.set()), daemon=True).start()
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
while not end.wait(float(sys.argv[2])):
    started = time.perf_counter()
    connection.sendall(b"GET /ping HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    answer = b""
    while not answer.endswith(b"pong"):
        piece = connection.recv(1000)
        if not piece:
            sys.exit("the connection of the pings was closed")
        answer += piece
    seen.append(time.perf_counter() - started)
print(json.dumps(seen))
"""
"""Runs in a process of its own, so that sending does not slow down the measurement."""


@contextmanager
def pings(worker: SlowWorker, seen: list[float]) -> Iterator[None]:
    """Fills `seen` with the seconds of each ping while the block runs."""
    command = [sys.executable, "-c", PINGER, str(worker.port), str(PING_S)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        time.sleep(0.5)
        yield
        time.sleep(2 * PING_S)
        seen += json.loads(process.communicate("")[0] or "[]")


def described(seen: list[float]) -> str:
    return f"{quantile(seen, 0.5):.1f} / {quantile(seen, 0.99):.1f} / {max(seen) * 1000:.0f}" if seen else "none"


def resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def measure(worker: SlowWorker, name: str, case: Callable[[SlowWorker], str]) -> None:
    pid = worker.process.pid
    seen: list[float] = []
    before = resident(pid)
    forget_peak(pid)
    with pings(worker, seen):
        started = time.monotonic()
        answer = case(worker)
        seconds = time.monotonic() - started
    peak = peak_megabytes(pid) or 0.0
    time.sleep(5)
    memory = f"{peak - before:.0f} | {resident(pid) - before:.0f}"
    print(f"| {name} | {answer} | {seconds:.1f} | {described(seen)} | {memory} |", flush=True)


def stopping(delay: float) -> None:
    """SIGTERM with eight requests inside whose answers take `delay` seconds."""
    with slow_worker(delay=delay) as worker, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(whole, worker, PHOTO) for _ in range(8)]
        time.sleep(1)
        started = time.monotonic()
        worker.process.send_signal(signal.SIGTERM)
        answers = [answer.result() for answer in asked]
        code = worker.process.wait(40)
        seconds = time.monotonic() - started
    lines, stacks = worker.log.count("predict outcome="), worker.log.count("Traceback")
    found = ", ".join(f"{answers.count(answer)} × {answer}" for answer in sorted(set(answers)))
    print(f"| answers within {delay:.0f} s | {found} | {lines} | {stacks} | {seconds:.1f} | {code} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench hostile", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, help="folder with real model files; all tasks are loaded then")
    parser.add_argument("--case", action="append", choices=CASES, help="only this one; may be given several times")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        models = chosen.models
        if models is None:
            cache = PROJECT / "tests" / ".cache" / "models"
            cache.mkdir(parents=True, exist_ok=True)
            Store(cache).fetch(CLIP_VOCABULARY)
            models = light_models(Path(name) / "models", cache)
        folder = str(models.absolute())
        with slow_worker(real=True, descriptors=1000, MODELS_DIR=folder, IMMICH_LOG_LEVEL="error") as worker:
            whole(worker, PHOTO)  # the first of each kind fills caches
            whole(worker, text_form(b"a dog"))
            print("| case | answer | s | ping p50 / p99 / max, ms | peak, MiB | held, MiB |\n|---|---|---|---|---|---|")
            for label in chosen.case or CASES:
                measure(worker, label, CASES[label])
    if not chosen.case:
        print("\n| SIGTERM, eight requests inside | answers | log lines | stacks | ended after, s | status |")
        print("|---|---|---|---|---|---|")
        for delay in (3.0, 100.0):
            stopping(delay)


if __name__ == "__main__":
    main()
