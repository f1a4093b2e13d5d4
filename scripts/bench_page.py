"""What an open page costs the worker: processor time while nothing else is asked, and the pings of others under load.

Starts a worker on the simulated card and the system's Chromium. First the worker's processor time with nobody
there and with the page open, in alternating rounds, of which the least counts; then eight clients, and /ping beside
them without and with the page. Prints a Markdown table.
Needs Chromium and its driver (apt-get install chromium-driver).
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

import httpx  # noqa: E402
from bench_device import quantile  # noqa: E402
from browser import chromium, look  # noqa: E402
from hailo_worker import Apart, Crowd, apart, mixed, models_folder  # noqa: E402
from process_memory import tree  # noqa: E402
from selenium.webdriver import Chrome  # noqa: E402

from ml_target.catalogue import files  # noqa: E402
from ml_target.store import Store  # noqa: E402

CLIENTS = 8
PING_S = 0.02
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def processor_s(process: int) -> float:
    """Seconds of processor time that the process has taken, all threads."""
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(after_name[11]) + int(after_name[12])) * TICK_S


def share(worker: Apart, seconds: float) -> float:
    """Per cent of one core that the worker takes over these seconds."""
    before, began = processor_s(worker.process.pid), time.monotonic()
    time.sleep(seconds)
    return 100 * (processor_s(worker.process.pid) - before) / (time.monotonic() - began)


def pings(worker: Apart, seconds: float) -> list[float]:
    """Seconds of each /ping, one after the other, as Immich sends them, on a connection of its own."""
    took, end = [], time.monotonic() + seconds
    with httpx.Client(base_url=worker.client.base_url, timeout=60) as client:
        while time.monotonic() < end:
            began = time.perf_counter()
            client.get("/ping").raise_for_status()
            took.append(time.perf_counter() - began)
            time.sleep(PING_S)
    return took


def step_back(chrome: Chrome) -> None:
    """The browser gets what processor time is left over: in life it runs on another machine."""
    waiting = [chrome.service.process.pid]
    while waiting:
        process, *children = tree(waiting.pop())
        waiting += children
        with suppress(OSError):  # it has just ended
            os.setpriority(os.PRIO_PROCESS, process, 19)


def rounds(chrome: Chrome, worker: Apart, number: int, measure: Callable[[], float]) -> tuple[float, float]:
    """The least of this many rounds without the page, and with it."""
    closed, opened = [], []
    for _ in range(number):
        chrome.get("about:blank")
        closed.append(measure())
        look(chrome, str(worker.client.base_url.join("/status")))
        time.sleep(1)
        opened.append(measure())
    return min(closed), min(opened)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of each round (default: %(default)g)")
    parser.add_argument("--rounds", type=int, default=2, help="with and without the page (default: %(default)s)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, chromium() as chrome:
        folder = Path(name)
        store = Store(folder / "wheels")
        for file in (files.OCR_DICTIONARY, files.CLIP_VOCABULARY):
            store.check(file, store.fetch(file))
        models = models_folder(folder / "wheels", folder)
        with apart(folder, models, IMMICH_LOG_LEVEL="critical") as worker:
            worker.becomes_ready()
            asks = mixed(2)
            expected = worker.alone(asks)
            step_back(chrome)
            idle = rounds(chrome, worker, chosen.rounds, lambda: share(worker, chosen.seconds))

            def slow_ping() -> float:
                return quantile(pings(worker, chosen.seconds), 0.99)

            with Crowd(worker, asks, expected, CLIENTS):
                busy = rounds(chrome, worker, chosen.rounds, slow_ping)
    print("| | page closed | page open |\n|---|---|---|")
    print(f"| idle, % of one core | {idle[0]:.2f} | {idle[1]:.2f} |")
    print(f"| /ping beside {CLIENTS} clients, p99, ms | {busy[0]:.1f} | {busy[1]:.1f} |")


if __name__ == "__main__":
    main()
