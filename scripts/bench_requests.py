"""Time and peak memory of one request of each task, as Immich sends them: one task per request.

Starts a worker of its own with the settings of the environment, or uses a running one (--url).
Prints a Markdown table. "first" is the first request of that task after the worker is ready;
"median" and "worst" are of the requests after it, one at a time. "peak" is the worker's largest
resident memory while that task was measured, with all models loaded.
"""

import argparse
import http.client
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PROJECT = Path(__file__).resolve().parent.parent
BOUNDARY = "immich-3f0c"
QUERY = "a dog on the beach"
BUFFALO, PPOCR = {"modelName": "buffalo_l"}, {"modelName": "PP-OCRv5_mobile"}
START_TIMEOUT_S = 300


@dataclass(frozen=True)
class Measured:
    """One row of the table: milliseconds, and MB where they can be read."""

    task: str
    first: float
    later: list[float]
    peak: float | None
    found: str

    def row(self) -> str:
        peak = f"{self.peak:.0f}" if self.peak else "–"
        median, worst = statistics.median(self.later), max(self.later)
        return f"| {self.task} | {self.first:.0f} | {median:.0f} | {worst:.0f} | {peak} | {self.found} |"


def form(entries: dict[str, Any], photo: bytes | None) -> bytes:
    """Immich's form: entries, then the picture or the query."""
    parts = [('name="entries"', json.dumps(entries).encode())]
    if photo is None:
        parts.append(('name="text"', QUERY.encode()))
    else:
        parts.append(('name="image"; filename="blob"\r\nContent-Type: application/octet-stream', photo))
    body = b""
    for head, content in parts:
        body += f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


class Client:
    """A connection that is kept open, like the Immich server's."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)

    def get(self, path: str) -> tuple[int, bytes]:
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def predict(self, body: bytes) -> tuple[float, dict[str, Any]]:
        """Milliseconds and the answer."""
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        started = time.perf_counter()
        self._connection.request("POST", "/predict", body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        elapsed = (time.perf_counter() - started) * 1000
        if answer.status != 200:
            raise SystemExit(f"the worker answered {answer.status}: {content.decode()[:500]}")
        parsed: dict[str, Any] = json.loads(content)
        return elapsed, parsed


@contextmanager
def own_worker() -> Iterator[tuple[str, int]]:
    """Address and process of a worker that is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "IMMICH_HOST": "127.0.0.1", "IMMICH_PORT": str(port), "IMMICH_LOG_LEVEL": "warning"}
    process = subprocess.Popen([sys.executable, "-m", "ml_target", "serve"], cwd=PROJECT, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        started = time.monotonic()
        while not answers(url):
            if process.poll() is not None or time.monotonic() - started > START_TIMEOUT_S:
                raise SystemExit("the worker did not become ready; its output is above")
            time.sleep(0.05)
        print(f"worker ready after {time.monotonic() - started:.1f} s\n", file=sys.stderr)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        return Client(url).get("/ping")[0] == 200
    except OSError:
        return False


def forget_peak(pid: int) -> None:
    """Resets the peak (Linux, own processes only); elsewhere it only grows."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        print("the peak cannot be reset here: it includes what was measured before", file=sys.stderr)


def peak_megabytes(pid: int) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "")
    return int(line.split()[1]) / 1024 if line else None


def requests(status: dict[str, Any], photo: bytes) -> Iterator[tuple[str, bytes]]:
    """Label and body for each task that is on."""
    spaces = sorted(status.get("clip", []), key=lambda space: not space.get("on", True))
    clip = {"modelName": spaces[0]["immich_name"] if spaces else "ViT-B-32__openai"}
    bodies = {
        "clip.visual": form({"clip": {"visual": clip}}, photo),
        "clip.textual": form({"clip": {"textual": clip}}, None),
        "facial-recognition": form({"facial-recognition": {"detection": BUFFALO, "recognition": BUFFALO}}, photo),
        "ocr": form({"ocr": {"detection": PPOCR, "recognition": PPOCR}}, photo),
    }
    for label, body in bodies.items():
        if status["tasks"].get(label, {}).get("on"):
            yield label, body
        else:
            print(f"{label} is off, not measured", file=sys.stderr)


def found(answer: dict[str, Any]) -> str:
    if "clip" in answer:
        return f"{answer['clip'].count(',') + 1} numbers"
    if "ocr" in answer:
        return f"{len(answer['ocr']['text'])} lines"
    return f"{len(answer['facial-recognition'])} faces"


def measure(url: str, pid: int | None, photo: Path, repeats: int) -> None:
    client = Client(url)
    status = json.loads(client.get("/status")[1])
    print(f"{photo.name}, {repeats} requests, engine {status['engine']}, {machine()}\n")
    print("| task | first, ms | median, ms | worst, ms | peak, MB | found |\n|---|---|---|---|---|---|")
    for label, body in requests(status, photo.read_bytes()):
        if pid:
            forget_peak(pid)
        first, answer = client.predict(body)
        later = [client.predict(body)[0] for _ in range(repeats)]
        print(Measured(label, first, later, peak_megabytes(pid) if pid else None, found(answer)).row(), flush=True)


def machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench requests", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="a running worker, with its own settings")
    parser.add_argument("--pid", type=int, help="with --url: its process on this machine, for the memory")
    parser.add_argument("--photo", type=Path, default=PROJECT / "tests" / "test.jpg")
    parser.add_argument("--repeats", type=int, default=10)
    chosen = parser.parse_args()
    if chosen.url:
        measure(chosen.url, chosen.pid, chosen.photo, chosen.repeats)
        return
    with own_worker() as (url, pid):
        measure(url, pid, chosen.photo, chosen.repeats)


if __name__ == "__main__":
    main()
