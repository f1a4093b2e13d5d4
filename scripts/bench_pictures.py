"""How pictures affect the whole worker: memory by format, deadlines, pings, a photo beside them, stopping.

The worker is a process of its own; its tasks do the real work on the host and leave out the networks. Memory is that of
the worker and its helper together, minus the worker's when idle. Prints three Markdown tables; the exit code is 1 if a
figure exceeds its bound. On a machine that is busy with something else, the times mean little.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

import hostile_pictures as hostile  # noqa: E402
from process_memory import Watch, memory  # noqa: E402

from ml_target.runtime.budget import Memory  # noqa: E402

MIB = 2**20
AT_ONCE = 8
MOST_OF_SETTING, MOST_KEPT = 1.1, 64 * MIB
"""The bounds: peak above idle, and what is left of it five seconds later."""

SETTLED_S = 5
LATE_S = 2
"""How long after the deadline an answer may come."""

LONGER_S = 1
"""How long pings and photos go on afterwards, so that some are measured even if the answer comes at once."""

STOP_S = 30
"""How long `docker stop` waits."""

PING_P99, PING_MAX = 0.050, 0.500
ALL = {
    "clip": {"visual": {"modelName": "ViT-B-32__openai"}},
    "facial-recognition": {"detection": {"modelName": "buffalo_l"}, "recognition": {"modelName": "buffalo_l"}},
    "ocr": {"detection": {"modelName": "PP-OCRv5_mobile"}, "recognition": {"modelName": "PP-OCRv5_mobile"}},
}
CLIP = {"clip": ALL["clip"]}


@dataclass
class Server:
    """A worker, and the requests that it gets."""

    process: "subprocess.Popen[bytes]"
    url: str
    failures: list[str] = field(default_factory=list)

    def together(self, data: bytes, count: int, entries: object) -> tuple[list[int], float]:
        """The statuses of `count` at once, and the seconds until the last."""
        with ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(lambda _: ask(self.url, data, entries), range(count)))
        return [status for status, _ in answers], max(seconds for _, seconds in answers)


def ask(url: str, data: bytes, entries: object = CLIP, timeout: float = 300) -> tuple[int, float]:
    """Status (0: no answer) and seconds."""
    started = time.perf_counter()
    try:
        answer = httpx.post(
            f"{url}/predict",
            data={"entries": json.dumps(entries)},
            files={"image": ("blob", data)},
            timeout=timeout,
        )
        status = answer.status_code
    except httpx.HTTPError:
        status = 0
    return status, time.perf_counter() - started


@contextmanager
def worker(**settings: object) -> Iterator[Server]:
    """A worker of the tests' tasks on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'tests' / 'support'}",
        "ENGINE": "cpu",
        "IMMICH_HOST": "127.0.0.1",
        "IMMICH_PORT": str(port),
        "LOG_LEVEL": "error",
        **{name: str(value) for name, value in settings.items()},
    }
    process = subprocess.Popen(
        [sys.executable, str(PROJECT / "tests" / "support" / "standin_tasks.py")], env=environment
    )
    server = Server(process, f"http://127.0.0.1:{port}")
    try:
        _wait(server)
        yield server
    finally:
        process.kill()
        process.wait()


def _wait(server: Server) -> None:
    end = time.monotonic() + 60
    while not _answers(server):
        if time.monotonic() > end or server.process.poll() is not None:
            raise SystemExit("the worker did not start")
        time.sleep(0.1)


def _answers(server: Server) -> bool:
    try:
        return httpx.get(f"{server.url}/ping").status_code == 200
    except httpx.TransportError:
        return False


class Beside:
    """Pings and photos, sent all the time from a process of their own."""

    def __init__(self, server: Server) -> None:
        self._command = [sys.executable, str(Path(__file__)), "--beside", server.url]
        self.pings: list[float] = []
        self.photos: list[float] = []
        self.failed = 0

    def __enter__(self) -> "Beside":
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has begun
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(LONGER_S)
        seen = json.loads(self._process.communicate()[0])
        self.pings, self.photos, self.failed = seen["pings"], seen["photos"], seen["failed"]


def beside(url: str) -> None:
    """What `Beside` starts: until its input ends."""
    over = threading.Event()
    pings: list[float] = []
    answers: list[tuple[int, float]] = []

    def ping() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not over.is_set():
                started = time.perf_counter()
                client.get("/ping")
                pings.append(time.perf_counter() - started)
                time.sleep(0.02)

    def photo() -> None:
        while not over.is_set():
            answers.append(ask(url, SMALL))
            time.sleep(0.05)

    threads = [threading.Thread(target=ping), threading.Thread(target=photo)]
    for thread in threads:
        thread.start()
    print(flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    failed = sum(status != 200 for status, _ in answers)
    print(json.dumps({"pings": pings, "photos": [seconds for _, seconds in answers], "failed": failed}))


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


# --------------------------------------------------------------------- memory


def memory_table(server: Server, setting_mb: int, megapixels: float) -> None:
    """Each format, eight at once, every task; then files that fail."""
    side = int((megapixels * 1e6 / 12) ** 0.5)
    picture = hostile.photo(4 * side, 3 * side)
    preview = hostile.photo(1632, 1224)
    cases: dict[str, Callable[[], bytes]] = {
        f"{form}, {megapixels:g} MP": partial(make, picture) for form, make in hostile.FORMS.items()
    }
    cases = {"nothing": bytes, **cases}
    cases |= {f"{form}, a preview": partial(hostile.FORMS[form], preview) for form in ("JPEG", "WebP", "PNG")}
    largest = int((Memory.of(setting_mb, largest_upload(setting_mb)).pictures.largest / 7.1) ** 0.5)
    cases[f"PNG cut short, {largest} x {largest}"] = lambda: hostile.cut_png(largest, largest)
    cases["PNG cut short, 3000 x 3000"] = lambda: hostile.cut_png(3000, 3000)
    cases["JPEG of 100 scans, 3000 x 3000"] = lambda: hostile.slow_jpeg(3000, 3000, 100)
    cases["TIFF, 1 pixel in a tile of 3900 x 3900"] = lambda: hostile.one_pixel_in_a_tile(3900)
    cases["TIFF, 1 pixel in a tile of 32768 x 32768"] = lambda: hostile.one_pixel_in_a_tile(32768)
    idle = memory(server.process.pid)
    print(f"\nMEMORY_MB={setting_mb}, idle {idle / MIB:.0f} MiB, {AT_ONCE} at once, all tasks\n")
    print("| case | bytes | answers | s | peak, MiB | of the setting | 5 s after, MiB | pings p50 / p99 / max, ms |")
    print("|---|---|---|---|---|---|---|---|")
    for name, make in cases.items():
        _memory_row(server, name, make(), setting_mb, idle)


def largest_upload(setting_mb: int) -> int:
    """The MAX_UPLOAD_MB that goes with it."""
    return min(128, setting_mb // 4)


def _memory_row(server: Server, name: str, data: bytes, setting_mb: int, idle: int) -> None:
    with Watch(server.process.pid) as watch, Beside(server) as other:
        if data:
            statuses, seconds = server.together(data, AT_ONCE, ALL)
        else:
            statuses, seconds = [], 0.0
            time.sleep(SETTLED_S)
    time.sleep(SETTLED_S)
    above, left = watch.peak - idle, memory(server.process.pid) - idle
    share = above / (setting_mb * MIB)
    print(
        f"| {name} | {len(data):,} | {_counted(statuses)} | {seconds:.1f} | {above / MIB:.0f} | {share:.2f} | "
        f"{left / MIB:.0f} | {_milliseconds(other.pings)} |",
        flush=True,
    )
    if share > MOST_OF_SETTING:
        server.failures.append(f"{name}: {share:.2f} of the setting")
    if left > MOST_KEPT:
        server.failures.append(f"{name}: {left / MIB:.0f} MiB are left")
    _check_pings(server, name, other)


def _counted(statuses: list[int]) -> str:
    return ", ".join(f"{statuses.count(status)} x {status or 'none'}" for status in sorted(set(statuses)))


def _milliseconds(values: list[float]) -> str:
    return " / ".join(
        f"{1000 * value:.0f}" for value in (quantile(values, 0.5), quantile(values, 0.99), quantile(values, 1))
    )


def _check_pings(server: Server, name: str, other: Beside) -> None:
    if quantile(other.pings, 0.99) > PING_P99 or quantile(other.pings, 1) > PING_MAX:
        server.failures.append(f"{name}: pings took {_milliseconds(other.pings)} ms")


# ------------------------------------------------------------------ deadlines


def slow_cases() -> dict[str, bytes]:
    return {
        "JPEG of 400 scans, 8000 x 8000": hostile.slow_jpeg(8000, 8000, 400),
        "JPEG of 100 scans, 13000 x 13000": hostile.slow_jpeg(13000, 13000, 100),
        "JPEG of 24 scans, 2800 x 2800": hostile.slow_jpeg(2800, 2800, 24),
        "JPEG 2000 of one grey, 8000 x 6000": hostile.flat_jpeg2000(8000, 6000),
        "JPEG 2000 with grain, 4000 x 3000": hostile.saved(hostile.photo(4000, 3000), "JPEG2000"),
        "GIF of 8000 x 8000": hostile.saved(hostile.photo(8000, 8000).quantize(64), "GIF"),
    }


def deadline_table(server: Server, cases: dict[str, bytes], deadline_s: float, usual: list[float]) -> None:
    print(f"\nREQUEST_TIMEOUT_S={deadline_s:g}; a photo of 2 MP beside it\n")
    print("| case | at once | answers | last after, s | photo p50 / p99, ms (usual) | pings p50 / p99 / max, ms |")
    print("|---|---|---|---|---|---|")
    for name, data in cases.items():
        for count in (1, AT_ONCE):
            with Beside(server) as other:
                statuses, seconds = server.together(data, count, CLIP)
            times = f"{_pair(other.photos)} ({_pair(usual)}) | {_milliseconds(other.pings)}"
            print(f"| {name} | {count} | {_counted(statuses)} | {seconds:.1f} | {times} |", flush=True)
            if seconds > deadline_s + LATE_S:
                server.failures.append(f"{name}: answered after {seconds:.1f} s")
            if other.failed or (len(other.photos) > 20 and quantile(other.photos, 0.99) > 2 * quantile(usual, 0.99)):
                server.failures.append(f"{name}: photos took {_pair(other.photos)} ms, {other.failed} failed")
            _check_pings(server, name, other)


def _pair(values: list[float]) -> str:
    return f"{1000 * quantile(values, 0.5):.0f} / {1000 * quantile(values, 0.99):.0f}"


def hang_up(server: Server, name: str, data: bytes) -> None:
    """A client that leaves: the helper's memory and time are free soon after."""
    idle = memory(server.process.pid)
    status, _ = ask(server.url, data, timeout=2)
    time.sleep(1)
    left = memory(server.process.pid) - idle
    print(
        f"{name}: the client hung up after 2 s (status {status or 'none'}); 1 s later {left / MIB:.0f} MiB above before"
    )
    if left > MOST_KEPT:
        server.failures.append(f"{name}: {left / MIB:.0f} MiB are left after the client had gone")


def stop_table(cases: dict[str, bytes]) -> list[str]:
    """SIGTERM in the middle of eight."""
    failures = []
    print("\n| SIGTERM in the middle of 8 x | answers | process gone after, s |")
    print("|---|---|---|")
    for name, data in cases.items():
        with worker() as server, ThreadPoolExecutor(1) as pool:
            asking = pool.submit(server.together, data, AT_ONCE, CLIP)
            time.sleep(1.5)
            started = time.perf_counter()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(120)
            seconds = time.perf_counter() - started
            statuses, _ = asking.result()
        print(f"| {name} | {_counted(statuses)} | {seconds:.1f} |", flush=True)
        if seconds > STOP_S:
            failures.append(f"{name}: the process ended {seconds:.1f} s after SIGTERM")
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--memory-mb", type=int, default=512, help="MEMORY_MB of the memory table (default %(default)s)"
    )
    parser.add_argument("--megapixels", type=float, default=8, help="of its pictures (default %(default)s)")
    parser.add_argument(
        "--deadline", type=float, default=5, help="REQUEST_TIMEOUT_S of the other (default %(default)s)"
    )
    parser.add_argument("--only", choices=("memory", "deadlines", "stop"), help="only this table")
    parser.add_argument("--beside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.beside:
        beside(options.beside)
        return 0
    failures: list[str] = []
    if options.only in (None, "memory"):
        with worker(MEMORY_MB=options.memory_mb, MAX_UPLOAD_MB=largest_upload(options.memory_mb)) as server:
            server.together(SMALL, AT_ONCE, ALL)
            memory_table(server, options.memory_mb, options.megapixels)
            failures += server.failures
    cases = slow_cases() if options.only in (None, "deadlines", "stop") else {}
    if options.only in (None, "deadlines"):
        with worker(REQUEST_TIMEOUT_S=options.deadline) as server:
            server.together(SMALL, AT_ONCE, CLIP)
            with Beside(server) as other:
                time.sleep(10)
            print(f"\nnothing beside: photo p50 / p99 {_pair(other.photos)} ms, pings {_milliseconds(other.pings)} ms")
            deadline_table(server, cases, options.deadline, other.photos)
            hang_up(server, "JPEG of 100 scans", cases["JPEG of 100 scans, 13000 x 13000"])
            failures += server.failures
    if options.only in (None, "stop"):
        failures += stop_table(cases)
    print(
        "\n" + "\n".join(f"BEYOND ITS BOUND: {failure}" for failure in failures) if failures else "\nall within bounds"
    )
    return 1 if failures else 0


SMALL = hostile.saved(hostile.photo(1632, 1224), "JPEG", quality=88)
"""What Immich sends: a preview."""

if __name__ == "__main__":
    sys.exit(main())
