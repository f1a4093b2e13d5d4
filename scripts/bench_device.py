"""Compares this worker's queues with the usual design, on the simulated card, in one run.

The usual design sends one frame per burst under a global lock. Both run on the same simulator, whose
card takes as long as measured cards (tests/support/hailo_sim/costs.py); its networks answer from a
table, because a processor cannot run them at the card's speed. Tensors are prepared in advance: only
queueing, batching and the card are measured. Clients send the next request as soon as they have an answer.
"host CPU": the share of one processor that queues, engine and simulator used. Prints Markdown tables.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

from hailo_sim import Rig, simulated  # noqa: E402
from hailo_sim.build import fingerprint  # noqa: E402

from ml_target.catalogue import networks as n  # noqa: E402
from ml_target.catalogue.types import Network, PictureInput, TextInput  # noqa: E402
from ml_target.scheduling.arbiter import Arbiter  # noqa: E402
from ml_target.scheduling.model import Model, Provenance  # noqa: E402
from ml_target.tensors import Array  # noqa: E402

FACES = 3
LINES = 12
NETWORKS = (
    n.SIGLIP.visual,
    n.SIGLIP.textual,
    n.TINYCLIP.visual,
    n.SCRFD_2_5G,
    n.ARCFACE_R50,
    n.OCR_DETECTION,
    n.OCR_RECOGNITION,
)
Ask = Callable[[], Awaitable[object]]


@dataclass
class Side:
    """One design on a rig of its own."""

    name: str
    rig: Rig
    models: dict[str, Model]
    frames: dict[str, Array]
    latencies: list[float] = field(default_factory=list)

    async def infer(self, network: Network, count: int = 1) -> None:
        await self.models[network.name].infer([self.frames[network.name]] * count)

    async def picture(self) -> None:
        await self.infer(n.SIGLIP.visual)

    async def tiny(self) -> None:
        await self.infer(n.TINYCLIP.visual)

    async def faces(self) -> None:
        await self.infer(n.SCRFD_2_5G)
        await self.infer(n.ARCFACE_R50, FACES)

    async def ocr(self) -> None:
        await self.infer(n.OCR_DETECTION)
        await self.infer(n.OCR_RECOGNITION, LINES)

    async def text(self) -> None:
        await self.infer(n.SIGLIP.textual)


def frame_of(network: Network) -> Array:
    spec = network.input
    if isinstance(spec, PictureInput):
        return np.zeros((spec.height, spec.width, 3), np.uint8)
    assert isinstance(spec, TextInput)
    return np.zeros((spec.tokens, spec.width), np.float32)


@contextlib.contextmanager
def side(name: str, link: str, locked: bool) -> Iterator[Side]:
    """The engine on the simulated card. `locked`: the usual design."""
    from ml_target.engines.hailo.card import CardSettings
    from ml_target.engines.hailo.engine import HailoEngine

    rig = Rig(link=link, clock="real")  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder, simulated(rig):
        engine = HailoEngine(CardSettings(batch=1) if locked else CardSettings())
        engine.start()
        arbiter = Arbiter(1) if locked else Arbiter(1, patient=True, ahead=True, recover=engine.recover)
        models = {}
        for network in NETWORKS:
            file = Path(folder) / f"{network.name}.hef"
            file.write_bytes(fingerprint(network))
            interactive = network.stage == "textual"
            loaded = engine.open(file, network)
            models[network.name] = Model(
                network, arbiter.queue(loaded, network.name, interactive=interactive), Provenance("", "", "hailo")
            )
        try:
            yield Side(name, rig, models, {network.name: frame_of(network) for network in NETWORKS})
        finally:
            arbiter.close()
            engine.close()


async def closed_loop(ask: Ask, clients: int, seconds: float) -> tuple[float, list[float]]:
    """Answers per second and their latencies, within the window after a warm-up."""
    latencies: list[float] = []
    start = time.perf_counter() + seconds / 2
    end = start + seconds

    async def client() -> None:
        while (asked := time.perf_counter()) < end:
            await ask()
            answered = time.perf_counter()
            if start <= answered < end:
                latencies.append(answered - asked)

    await asyncio.gather(*(client() for _ in range(clients)))
    return len(latencies) / seconds, latencies


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1000


@dataclass(frozen=True)
class Cell:
    """The row for one number of clients: answers per second, latencies in ms, how busy card and processor were."""

    rate: float
    median: float
    p95: float
    busy: float
    host: float


async def ladder(side_: Side, task: str, clients: list[int], seconds: float) -> dict[int, Cell]:
    results = {}
    for count in clients:
        started, worked = time.perf_counter(), sum(side_.rig.record.busy.values())
        computed = time.process_time()
        rate, latencies = await closed_loop(getattr(side_, task), count, seconds)
        elapsed = time.perf_counter() - started
        busy = (sum(side_.rig.record.busy.values()) - worked) / elapsed
        host = (time.process_time() - computed) / elapsed
        results[count] = Cell(rate, quantile(latencies, 0.5), quantile(latencies, 0.95), busy, host)
    return results


async def under_load(side_: Side, seconds: float) -> tuple[list[float], float, dict[str, float]]:
    """Latencies of one text query per second beside requests for pictures, faces and text detection."""
    texts: list[float] = []
    done = {"picture": 0, "faces": 0, "ocr": 0}
    end = time.perf_counter() + seconds
    lag: list[float] = []

    async def bulk(name: str) -> None:
        while time.perf_counter() < end:
            await getattr(side_, name)()
            done[name] += 1

    async def queries() -> None:
        while time.perf_counter() < end:
            asked = time.perf_counter()
            await side_.text()
            texts.append(time.perf_counter() - asked)
            await asyncio.sleep(max(0.0, 1.0 - texts[-1]))

    async def heartbeat() -> None:
        while time.perf_counter() < end:
            asked = time.perf_counter()
            await asyncio.sleep(0.005)
            lag.append(time.perf_counter() - asked - 0.005)

    work = [bulk("picture") for _ in range(4)] + [bulk("faces") for _ in range(4)] + [bulk("ocr") for _ in range(2)]
    await asyncio.gather(*work, queries(), heartbeat())
    return texts, quantile(lag, 0.99), {name: count / seconds for name, count in done.items()}


def run(links: list[str], clients: list[int], seconds: float, tasks: list[str]) -> None:
    for link in links:
        print(f"\n### {link} link, {seconds:g} s a cell, {FACES} faces a photo, {LINES} lines a page\n")
        print(
            "| task | clients | usual, 1/s | ours, 1/s | ratio | usual p50/p95 ms | ours p50/p95 ms "
            "| card busy | host CPU |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for task in tasks:
            with side("usual", link, locked=True) as usual:
                theirs = asyncio.run(ladder(usual, task, clients, seconds))
            with side("ours", link, locked=False) as ours:
                mine = asyncio.run(ladder(ours, task, clients, seconds))
            for count in clients:
                a, b = theirs[count], mine[count]
                rates = f"{a.rate:.2f} | {b.rate:.2f} | {b.rate / a.rate:.2f}"
                spread = f"{a.median:.0f}/{a.p95:.0f} | {b.median:.0f}/{b.p95:.0f}"
                print(f"| {task} | {count} | {rates} | {spread} | {b.busy:.0%} | {b.host:.0%} |", flush=True)
        for locked in (True, False):
            with side("mix", link, locked) as mixed:
                texts, lag, answered = asyncio.run(under_load(mixed, 4 * seconds))
            words = ", ".join(f"{name} {rate:.2f}/s" for name, rate in answered.items())
            print(
                f"\nmixed load ({'usual' if locked else 'ours'}): {words}; text query p50 "
                f"{statistics.median(texts) * 1000:.0f} ms, p95 {quantile(texts, 0.95):.0f} ms; event loop late by "
                f"{lag:.0f} ms at most in 99 of 100"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench device", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--link", action="append", choices=("slow", "fast"), help="default: both")
    parser.add_argument("--clients", type=int, nargs="*", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seconds", type=float, default=6.0, help="for each cell")
    parser.add_argument("--tasks", nargs="*", default=["picture", "tiny", "faces", "ocr", "text"])
    chosen = parser.parse_args()
    run(chosen.link or ["slow", "fast"], chosen.clients, chosen.seconds, chosen.tasks)


if __name__ == "__main__":
    main()
