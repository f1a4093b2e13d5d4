"""This worker over HTTP beside a worker of the usual design, in one run, in alternating slices.

Both are processes of their own, each with a simulated card that takes as long as measured cards, the same networks and
the same answers. The other one is tests/support/second_worker.py: one frame a burst under a lock, Pillow to decode,
OpenCV's bilinear filter, a pool of threads. Photos are really decoded and prepared, on this machine's processors.

Columns: answers a second; latencies; milliseconds of processor time a request, helpers included (for "all": for a
photo's three requests); the ratios ours / usual. The two limits are by this worker's own figures in the same slices:
by its card (seconds that it worked) and by the host (seconds of processor time, of all cores). Prints Markdown tables.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "tests" / "support")]

from bench_host import photos_in  # noqa: E402
from two_workers import Side, bench_models, longest_burst, ours, usual  # noqa: E402

from ml_target.diagnostics.clients import Connection, Seen, Turn, closed_loop, form, tasks_on  # noqa: E402

TASKS = {
    "picture": ("clip.visual",),
    "faces": ("facial-recognition",),
    "text": ("ocr",),
    "query": ("clip.textual",),
    "all": ("clip.visual", "facial-recognition", "ocr"),
}
WARM_UP_S = 0.7
LATER = 1.2
"""A query beside full load may take this many times the longest burst and its own time."""

Forms = dict[str, list[bytes]]


@dataclass
class Slices:
    """One side's slices of a row. `computed`, `worked`: seconds of the host's processors and of the card."""

    seen: list[Seen] = field(default_factory=list)
    computed: float = 0.0
    worked: float = 0.0

    def add(self, side: Side, turns: Sequence[Turn], clients: int, seconds: float) -> None:
        computed, worked = side.processor(), side.busy()
        self.seen.append(asyncio.run(closed_loop(side.url, turns, clients, seconds, WARM_UP_S)))
        self.computed += side.processor() - computed
        self.worked += side.busy() - worked
        if failed := self.seen[-1].failed:
            raise SystemExit(f"a request to {side.url} failed: {failed[0]}")

    @property
    def turns(self) -> int:
        return sum(seen.turns for seen in self.seen)

    @property
    def whole(self) -> Seen:
        """All slices as one."""
        return Seen(sum(seen.seconds for seen in self.seen), [n for seen in self.seen for n in seen.latencies])

    @property
    def milliseconds(self) -> float:
        """Processor time a turn."""
        return 1000 * self.computed / max(1, self.turns)


def turns_of(task: str, forms: Forms) -> list[Turn]:
    """What each client sends in turn: one form, or those of a photo's tasks."""
    return list(zip(*(forms[label] for label in TASKS[task]), strict=True))


def compare(task: str, count: int, sides: tuple[Side, Side], forms: Forms, seconds: float, rounds: int) -> None:
    """One row: slices of both sides in turn, beginning with the other one every round."""
    turns = turns_of(task, forms)
    theirs, mine = Slices(), Slices()
    pairs = list(zip((theirs, mine), sides, strict=True))
    for number in range(rounds):
        for slices, side in pairs if number % 2 == 0 else pairs[::-1]:
            slices.add(side, turns, count, seconds)
    a, b = theirs.whole, mine.whole
    card, host = mine.turns / max(mine.worked, 1e-9), mine.turns * (os.cpu_count() or 1) / max(mine.computed, 1e-9)
    cells = [
        task,
        str(count),
        f"{a.rate:.2f}",
        f"{b.rate:.2f}",
        f"**{b.rate / a.rate:.2f}**" if a.rate else "–",
        *(f"{s.milliseconds(0.5):.0f} / {s.milliseconds(0.95):.0f}" for s in (a, b)),
        *(f"{s.milliseconds:.1f}" for s in (theirs, mine)),
        f"**{mine.milliseconds / theirs.milliseconds:.2f}**" if theirs.milliseconds else "–",
        f"{card:.1f} / {host:.1f}",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


HEADING = (
    "| task | clients | usual, 1/s | ours, 1/s | ratio | usual p50 / p95 ms | ours p50 / p95 ms "
    "| usual CPU ms | ours CPU ms | ratio | limit by card / host, 1/s |"
)


# -------------------------------------------------------------- full load


@dataclass
class Load:
    """A query a second and pings beside eight, eight and four clients. `rates`: what these got a second."""

    alone: Seen
    beside: Seen
    pings: Seen
    rates: dict[str, float] = field(default_factory=dict)


async def beside_load(side: Side, forms: Forms, seconds: float) -> Load:
    query = forms["clip.textual"][0]
    load = Load(await closed_loop(side.url, [[query]], 1, 3.0, WARM_UP_S), Seen(seconds), Seen(seconds))
    done = Counter[str]()
    start = time.perf_counter() + WARM_UP_S
    end = start + seconds

    async def bulk(label: str, number: int) -> None:
        connection, bodies = Connection(side.url), forms[label]
        while time.perf_counter() < end:
            await connection.predict(bodies[number % len(bodies)])
            done[label] += start <= time.perf_counter() < end
            number += 1
        await connection.close()

    async def every(period: float, seen: Seen, ask: Callable[[Connection], Awaitable[bytes]]) -> None:
        connection = Connection(side.url)
        await asyncio.sleep(WARM_UP_S)
        while (asked := time.perf_counter()) < end:
            await ask(connection)
            seen.latencies.append(time.perf_counter() - asked)
            await asyncio.sleep(max(0.0, period - seen.latencies[-1]))
        await connection.close()

    clients = {"clip.visual": 8, "facial-recognition": 8, "ocr": 4}
    await asyncio.gather(
        *(bulk(label, number) for label, count in clients.items() for number in range(count)),
        every(1.0, load.beside, lambda connection: connection.predict(query)),
        every(0.05, load.pings, lambda connection: connection.get("/ping")),
    )
    load.rates = {label: done[label] / seconds for label in clients}
    return load


def full_load(side: Side, forms: Forms, link: str, seconds: float) -> None:
    """The paragraph on queries and pings beside full load."""
    before = side.bursts()
    load = asyncio.run(beside_load(side, forms, seconds))
    sizes = {name: dict(Counter(after) - Counter(before.get(name, {}))) for name, after in side.bursts().items()}
    longest = 1000 * longest_burst(sizes, link)
    allowed = LATER * (longest + load.alone.milliseconds(0.5))
    p95 = load.beside.milliseconds(0.95)
    got = ", ".join(f"{label} {rate:.1f}/s" for label, rate in load.rates.items())
    print(
        f"\nA query a second beside full load ({got}): p50 {load.beside.milliseconds(0.5):.0f} ms, p95 {p95:.0f} ms; "
        f"alone {load.alone.milliseconds(0.5):.0f} ms, longest burst {longest:.0f} ms, so "
        f"{'within' if p95 <= allowed else 'BEYOND'} {allowed:.0f} ms. Pings beside it: "
        f"p50 {load.pings.milliseconds(0.5):.1f} ms, p99 {load.pings.milliseconds(0.99):.1f} ms"
    )


# ------------------------------------------------------------------- command


@contextlib.contextmanager
def two(link: str, backend: str) -> Iterator[tuple[Side, Side]]:
    """Usual and ours, both ready and warm."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = bench_models(PROJECT / "tests" / ".cache" / "models", folder, backend)
        with usual(folder, models, link, backend) as theirs, ours(folder, models, link, backend) as mine:
            yield theirs, mine
            if any(size != 1 for sizes in theirs.bursts().values() for size in sizes):
                raise SystemExit("the second worker sent more than one frame a burst: these figures are void")


def forms_of(side: Side, photos: Sequence[Path]) -> Forms:
    """Every photo for each task, and as many queries."""

    async def status() -> Any:
        connection = Connection(side.url)
        try:
            return json.loads(await connection.get("/status"))
        finally:
            await connection.close()

    forms: Forms = {}
    contents = [photo.read_bytes() for photo in photos]
    for label, entries in tasks_on(asyncio.run(status())):
        asked: Sequence[bytes | str] = contents
        if label == "clip.textual":
            asked = [f"a dog on beach number {number}" for number in range(16)]
        forms[label] = [form(entries, content) for content in asked]
    return forms


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/bench worker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--link", action="append", choices=("slow", "fast"), help="default: both")
    parser.add_argument("--backend", action="append", choices=("tinyclip", "siglip"), help="default: both")
    parser.add_argument(
        "--task", action="append", choices=tuple(TASKS), help="default: all; of siglip, picture and query"
    )
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 8, 16])
    parser.add_argument("--photos", type=Path, metavar="FOLDER", help="default: tests/test.jpg")
    parser.add_argument("--seconds", type=float, default=4.0, help="a slice (default %(default)g)")
    parser.add_argument("--rounds", type=int, default=3, help="slices of each side in a row (default %(default)d)")
    parser.add_argument("--load", type=float, default=20.0, help="seconds of full load beside queries; 0 for none")
    chosen = parser.parse_args()
    photos = photos_in(chosen.photos)
    for link in chosen.link or ("slow", "fast"):
        for backend in chosen.backend or ("tinyclip", "siglip"):
            tasks = chosen.task or (list(TASKS) if backend == "tinyclip" else ["picture", "query"])
            print(f"\n### {backend}, {link} link, {len(photos)} photos, {os.cpu_count()} cores\n")
            print(f"{HEADING}\n{'|---' * HEADING.count(' | ')}|---|", flush=True)
            generated, started = time.process_time(), time.perf_counter()
            with two(link, backend) as sides:
                forms = forms_of(sides[1], photos)
                for task in tasks:
                    for count in chosen.clients:
                        compare(task, count, sides, forms, chosen.seconds, chosen.rounds)
                if chosen.load and backend == "tinyclip":
                    full_load(sides[1], forms, link, chosen.load)
            share = (time.process_time() - generated) / (time.perf_counter() - started)
            print(f"\nThe clients themselves took {share:.0%} of one processor.")


if __name__ == "__main__":
    main()
