"""The whole worker over HTTP on the simulated card: three tasks, a text query a second, pings.

The worker is a process of its own; its card takes the time of measured cards and answers from
tables. Photos are decoded and prepared for real, on the processors this machine has: the column
"card busy" tells whether those or the card were the limit. Levels: Immich's default concurrency
(2 smart search, 2 faces, 1 OCR), and raised (8, 8, 4). "usual" is the same worker forced to one
frame a burst under a lock. Prints a Markdown table.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

from bench_device import quantile  # noqa: E402
from hailo_sim.remote import RemoteRig  # noqa: E402
from hailo_worker import CLIP, FACE, FACES, LINES, OCR, QUERY, models_folder  # noqa: E402

USUAL = """
import sys
import ml_target.runtime.lifecycle as worker
from ml_target.__main__ import main
from ml_target.scheduling.arbiter import Arbiter
worker.Arbiter = lambda lanes, **options: Arbiter(1, recover=options.get("recover"))
sys.exit(main([]))
"""
"""The worker as its users know such workers: no patience, nothing sent ahead; HAILO_BATCH=1 does the rest."""

LEVELS = {"default": (2, 2, 1), "raised": (8, 8, 4)}


class Load:
    """Clients of one worker, and what they saw."""

    def __init__(self, client: httpx.AsyncClient, photo: bytes, seconds: float) -> None:
        self.client, self.photo = client, photo
        self.seconds = seconds
        self.end = time.perf_counter() + seconds
        self.seen: dict[str, list[float]] = {"clip": [], "faces": [], "ocr": [], "text": [], "ping": []}
        self.failed = 0

    async def ask(self, kind: str, entries: dict[str, Any], text: str | None = None) -> None:
        form = {"entries": json.dumps(entries)}
        started = time.perf_counter()
        if text is not None:
            answer = await self.client.post("/predict", data={**form, "text": text})
        else:
            answer = await self.client.post("/predict", data=form, files={"image": ("blob", self.photo)})
        self.failed += answer.status_code != 200
        self.seen[kind].append(time.perf_counter() - started)

    async def bulk(self, kind: str, entries: dict[str, Any]) -> None:
        while time.perf_counter() < self.end:
            await self.ask(kind, entries)

    async def queries(self) -> None:
        number = 0
        while time.perf_counter() < self.end:
            number += 1
            next_second = time.perf_counter() + 1
            await self.ask("text", {"clip": QUERY}, f"query number {number}")
            await asyncio.sleep(max(0.0, next_second - time.perf_counter()))

    async def pings(self) -> None:
        while time.perf_counter() < self.end:
            started = time.perf_counter()
            await self.client.get("/ping")
            self.seen["ping"].append(time.perf_counter() - started)
            await asyncio.sleep(0.05)

    async def run(self, clip: int, faces: int, ocr: int) -> None:
        kinds: list[tuple[str, dict[str, Any], int]] = [
            ("clip", {"clip": CLIP}, clip),
            ("faces", {"facial-recognition": FACE}, faces),
            ("ocr", {"ocr": OCR}, ocr),
        ]
        clients = [self.bulk(kind, entries) for kind, entries, count in kinds for _ in range(count)]
        await asyncio.gather(*clients, self.queries(), self.pings())


async def measure(url: str, control: Path, photo: bytes, seconds: float, level: str, design: str) -> None:
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=url, timeout=120, limits=limits) as client:
        rig = RemoteRig(control)
        before = busy_seconds(rig)
        load = Load(client, photo, seconds)
        await load.run(*LEVELS[level])
        busy = busy_seconds(rig) - before
    rates = " / ".join(f"{len(load.seen[kind]) / seconds:.1f}" for kind in ("clip", "faces", "ocr"))
    text, ping = load.seen["text"], load.seen["ping"]
    print(
        f"| {design} | {level} {LEVELS[level]} | {rates} | {quantile(text, 0.5):.0f} / {quantile(text, 0.95):.0f} | "
        f"{quantile(ping, 0.5):.1f} / {quantile(ping, 0.99):.1f} | {busy / seconds:.0%} | {load.failed} |",
        flush=True,
    )


def busy_seconds(rig: RemoteRig) -> float:
    return float(sum(rig.counts()["busy"].values()))


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/ping").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("the worker did not become ready; its words stand above")


def run(link: str, photo: Path, seconds: float, design: str) -> None:
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as probe:
        folder, port = Path(name), probe.getsockname()[1]
        probe.close()
        models = models_folder(PROJECT / "tests" / ".cache" / "models", folder)
        control = folder / "control"
        environment = {
            **os.environ,
            "PYTHONPATH": f"{PROJECT / 'tests' / 'support' / 'hailo_sim' / 'site'}:{PROJECT}",
            "HAILO_BATCH": "1" if design == "usual" else "8",
            "HAILO_SIM_LINK": link,
            "HAILO_SIM_CONTROL": str(control),
            "ENGINE": "hailo",
            "MODELS_DIR": str(models),
            "IMMICH_HOST": "127.0.0.1",
            "IMMICH_PORT": str(port),
            "IMMICH_LOG_LEVEL": "error",
        }
        command = ["-c", USUAL] if design == "usual" else ["-m", "ml_target"]
        process = subprocess.Popen([sys.executable, *command], cwd=PROJECT, env=environment)
        url = f"http://127.0.0.1:{port}"
        try:
            wait_until_ready(url, process)
            for level in LEVELS:
                asyncio.run(measure(url, control, photo.read_bytes(), seconds, level, design))
        finally:
            process.terminate()
            process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench worker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--link", action="append", choices=("slow", "fast"), help="default: both")
    parser.add_argument("--photo", type=Path, default=PROJECT / "tests" / "test.jpg")
    parser.add_argument("--seconds", type=float, default=20.0, help="a row")
    chosen = parser.parse_args()
    for link in chosen.link or ("slow", "fast"):
        print(f"\n### {link} link, {chosen.photo.name}, {len(FACES)} faces and {len(LINES)} lines a photo\n")
        print(
            "| design | clients (search, faces, OCR) | answers a second | text p50 / p95 ms "
            "| ping p50 / p99 ms | card busy | failed |"
        )
        print("|---|---|---|---|---|---|---|")
        for design in ("usual", "ours"):
            run(link, chosen.photo, chosen.seconds, design)


if __name__ == "__main__":
    main()
