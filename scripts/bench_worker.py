"""The whole worker over HTTP on the simulated card: three tasks, a text query per second, pings.

The worker is a process of its own; its card takes as long as measured cards and answers from
tables. Photos are really decoded and prepared, on this machine's processors: the column "card busy"
shows whether they or the card were the bottleneck. Levels: Immich's default concurrency
(2 smart search, 2 faces, 1 OCR), and raised (8, 8, 4). Prints a Markdown table for each link.
"""

import argparse
import asyncio
import json
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
from hailo_worker import CLIP, FACE, FACES, LINES, OCR, QUERY, Apart, apart, models_folder  # noqa: E402

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


async def measure(worker: Apart, photo: bytes, seconds: float, level: str) -> None:
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=worker.client.base_url, timeout=120, limits=limits) as client:
        before = busy_seconds(worker.rig)
        load = Load(client, photo, seconds)
        await load.run(*LEVELS[level])
        busy = busy_seconds(worker.rig) - before
    rates = " / ".join(f"{len(load.seen[kind]) / seconds:.1f}" for kind in ("clip", "faces", "ocr"))
    text, ping = load.seen["text"], load.seen["ping"]
    print(
        f"| {level} {LEVELS[level]} | {rates} | {quantile(text, 0.5):.0f} / {quantile(text, 0.95):.0f} | "
        f"{quantile(ping, 0.5):.1f} / {quantile(ping, 0.99):.1f} | {busy / seconds:.0%} | {load.failed} |",
        flush=True,
    )


def busy_seconds(rig: RemoteRig) -> float:
    return float(sum(rig.counts()["busy"].values()))


def run(link: str, photo: Path, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = models_folder(PROJECT / "tests" / ".cache" / "models", folder)
        with apart(folder, models, HAILO_SIM_LINK=link, IMMICH_LOG_LEVEL="error") as worker:
            if not worker.becomes_ready():
                raise SystemExit("the worker did not become ready; its words stand above")
            for level in LEVELS:
                asyncio.run(measure(worker, photo.read_bytes(), seconds, level))


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
            "| clients (search, faces, OCR) | answers a second "
            "| text p50 / p95 ms | ping p50 / p99 ms | card busy | failed |"
        )
        print("|---|---|---|---|---|---|")
        run(link, chosen.photo, chosen.seconds)


if __name__ == "__main__":
    main()
