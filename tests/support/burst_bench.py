"""Clients, a host of two cores and a card on virtual time: what a plan of bursts is worth, in seconds of real time.

The arbiter and its queues are the worker's own. The card takes one burst at a time, for as long as measured cards do
(`hailo_sim/costs.py`), switches between networks included. Clients ask again as soon as they are answered.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import virtual_loop
from hailo_sim.costs import Cost, cost_of

from ml_target.engines import Intake, LoadedNetwork
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.queue import ModelQueue
from ml_target.tensors import Array, Outputs

CORES = 2
JITTER = 0.2
"""How much one picture's preparing differs from the next one's, either way."""

NOISE = 1.06
"""How far a measured rate may lie above what is possible: of few requests, those counted may be the quicker ones."""

DECODE_S, CUT_S = 0.001, 0.0005
"""Between detector and recogniser: for the picture, and for each face or window of a line."""

NIGHT_S = 30_000.0
"""Without work before the clients come: what was measured before, or at no time, must not weigh on the plan."""

MOST = 32
CLIP = {
    "tinyclip": "tinyclip_vit_39m_16_text_19m_yfcc15m_image_encoder",
    "siglip": "siglip_b_16_image_encoder",
    "siglip2": "siglip2_b_32_256_image_encoder",
}
TEXT = {task: name.replace("image", "text") for task, name in CLIP.items()} | {
    task: CLIP["tinyclip"].replace("image", "text") for task in ("faces", "pages")
}
TWO = {
    "faces": ("scrfd_2_5g", "arcface_r50"),
    "pages": ("paddle_ocr_v5_mobile_detection", "paddle_ocr_v5_mobile_recognition"),
}
"""The tasks of two networks: detector and recogniser."""
TILES = 2
"""Frames of the detector for a page, as for most photos (`tasks.ocr.tiles`)."""
FRAME: Array = np.zeros(1, np.int64)


@dataclass(frozen=True, slots=True)
class Load:
    """`task`: a CLIP backend, "faces" or "pages". `parts`: faces of a photo, or windows of a page's lines. `prepare`:
    seconds of one core, of the host's `cores`. `cards`: used as one."""

    task: str
    clients: int
    prepare: float
    link: str
    parts: int = 0
    cards: int = 1
    cores: int = CORES

    def __str__(self) -> str:
        task = f"{self.task} of {self.parts}" if self.task in TWO else self.task
        return f"{task}, {self.link} link, {self.prepare * 1000:g} ms, {self.clients} clients"


@dataclass
class Card:
    """Runs what it is given one after the other. `bursts`: name and frames of each, and its seconds.

    `cards` of them as one: the first that is free takes a burst, and of several that are free one that runs its network
    already, as HailoRT's scheduler gives out work.
    """

    link: str
    cards: int = 1
    free_at: dict[int, float] = field(default_factory=dict)
    current: dict[int, str] = field(default_factory=dict)
    bursts: list[tuple[str, int, float]] = field(default_factory=list)

    def network(self, name: str, most: int) -> "OnCard":
        return OnCard(self, name, cost_of(name, 4, 0, chip="hailo8", link=self.link), most)

    def run(self, name: str, cost: Cost, frames: int) -> float:
        """Seconds from now until the burst has ended."""
        now = virtual_loop.now()
        once, each = (cost.latency, frames - 1) if cost.latency else (cost.overhead, frames)
        free = {n: max(now, self.free_at.get(n, 0.0)) for n in range(self.cards)}
        card = min(free, key=lambda n: (free[n], self.current.get(n) != name))
        switch = cost.switch if name != self.current.get(card) else 0.0
        seconds = switch + once + each * cost.per_frame
        self.current[card] = name
        self.free_at[card] = free[card] + seconds
        self.bursts.append((name, frames, seconds))
        return self.free_at[card] - now


@dataclass
class OnCard:
    """A network of the card, as the queues see one."""

    card: Card
    name: str
    cost: Cost
    max_batch: int
    intake: Intake = field(default_factory=lambda: Intake((1,), "int64"))
    roles: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        virtual_loop.spend(self.card.run(self.name, self.cost, len(frames)))
        return [{} for _ in frames]

    def close(self) -> None: ...


class FixedQueue(ModelQueue):
    """What the plan is compared with: a burst goes when it is full, or when nothing is known to come."""

    def patience(self, now: float, arriving: int) -> float:
        full = len(self.waiting) >= self.network.max_batch
        return 0.0 if full or not self._coming else 3600.0


class FixedArbiter(Arbiter):
    def queue(self, network: LoadedNetwork, name: str, *, interactive: bool = False) -> ModelQueue:
        queue = FixedQueue(self.wake, network, name, interactive=interactive)
        self._queues.append(queue)
        return queue


class Site:
    """One run: a card with its arbiter, and the host's cores."""

    def __init__(self, load: Load, arbiter: Arbiter, most: int) -> None:
        self.load = load
        self.card = Card(load.link, load.cards)
        self.arbiter = arbiter
        self.free = load.cores
        self.sooner: deque[asyncio.Future[None]] = deque()
        self.later: deque[asyncio.Future[None]] = deque()
        self.random = random.Random(1)
        names = TWO.get(load.task) or (CLIP[load.task],)
        self.queues = [arbiter.queue(self.card.network(name, most), name) for name in names]
        self.text = arbiter.queue(self.card.network(TEXT[load.task], most), "text", interactive=True)
        self.answers: list[float] = []

    async def host(self, seconds: float, *, begins: bool = False) -> None:
        """Work for so long on one core. `begins`: a photo; all other work passes it, as in the worker's pool."""
        if self.free:
            self.free -= 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            (self.later if begins else self.sooner).append(turn)
            await turn
        await asyncio.sleep(seconds)
        if waiting := self.sooner or self.later:
            waiting.popleft().set_result(None)
        else:
            self.free += 1

    async def request(self) -> None:
        first, frames = self.queues[0], [FRAME] * (TILES if self.load.task == "pages" else 1)
        with contextlib.ExitStack() as announced:
            announced.enter_context(first.coming(len(frames)))
            for queue in self.queues[1:]:
                announced.enter_context(queue.coming(None))
            await self.host(self.load.prepare * self.random.uniform(1 - JITTER, 1 + JITTER), begins=True)
        if len(self.queues) == 1:
            await first.infer(frames)
            return
        recogniser, parts = self.queues[1], self.load.parts
        with recogniser.coming(None):
            await first.infer(frames)
            await self.host(DECODE_S)
        if parts:
            with recogniser.coming(parts):
                await self.host(CUT_S * parts)
            await recogniser.infer([FRAME] * parts)

    async def clients(self, requests: int) -> None:
        """Closed loop until so many requests are answered."""

        async def client() -> None:
            while len(self.answers) < requests:
                await self.request()
                self.answers.append(virtual_loop.now())

        await asyncio.gather(*(client() for _ in range(self.load.clients)))

    def rate(self) -> float:
        """Requests a second after the first third, from one answer to another."""
        skip, end = len(self.answers) // 3, len(self.answers) - self.load.clients
        begin = self.answers[skip]
        counted = sum(1 for at in self.answers[skip:end] if at > begin)
        return counted / (self.answers[end - 1] - begin)


def measure(load: Load, make: Callable[[], Arbiter], most: int = MOST, rounds: int = 14) -> tuple[float, Card]:
    """Requests a second, and the card with its bursts."""
    rates: list[float] = []

    async def work(site: Site) -> None:
        await site.clients(max(40, rounds * load.clients))
        rates.append(site.rate())

    card = _run(load, make, most, work)
    return rates[0], card


def query_beside(load: Load, queries: int = 40) -> tuple[float, float]:
    """A few queries a second beside full load: its latency at p95, and the longest that is allowed: the longest burst,
    and what a query takes alone, with a fifth on top."""
    latencies: list[float] = []

    async def work(site: Site) -> None:
        asking = asyncio.ensure_future(site.clients(10**9))
        for _ in range(queries):
            await asyncio.sleep(site.random.uniform(0.2, 0.6))
            asked = virtual_loop.now()
            await site.text.infer([FRAME])
            latencies.append(virtual_loop.now() - asked)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    card = _run(load, planned, MOST, work)
    longest = max(seconds for name, _, seconds in card.bursts if name != TEXT[load.task])
    cost = cost_of(TEXT[load.task], 4, 0, chip="hailo8", link=load.link)
    alone = cost.switch + cost.overhead + cost.per_frame
    return sorted(latencies)[int(0.95 * queries)], 1.2 * (longest + alone)


def _run(load: Load, make: Callable[[], Arbiter], most: int, work: Callable[["Site"], Awaitable[None]]) -> Card:
    arbiter = make()
    cards: list[Card] = []

    async def begun() -> None:
        site = Site(load, arbiter, most)
        cards.append(site.card)
        await asyncio.sleep(NIGHT_S)
        await work(site)

    try:
        virtual_loop.run(begun, 1e6)
    finally:
        arbiter.close()
    return cards[0]


def planned(cards: int = 1) -> Arbiter:
    return Arbiter(cards, patient=True, ahead=True)


def fixed() -> Arbiter:
    return FixedArbiter(1, patient=True, ahead=True)


@dataclass(frozen=True, slots=True)
class Second:
    """Requests a second with one card, with two in one worker, and with two hosts that share the clients evenly."""

    load: Load
    one: float
    two: float
    hosts: float


def second_card(load: Load) -> Second:
    """What another card brings: in the same host, or with a host of its own behind a balancer."""
    both = replace(load, cards=2)
    half = replace(load, clients=load.clients // 2)
    return Second(
        load,
        measure(load, planned)[0],
        measure(both, lambda: planned(2))[0],
        2 * measure(half, planned)[0],
    )


def sizes(load: Load) -> list[int]:
    """Fixed sizes that differ for so many clients. Sizes that part most photos' faces are never the best."""
    most = load.clients * max(1, load.parts)
    return [size for size in (1, 2, 4, 8, 16, 32) if load.parts <= 3 * size < 6 * most]


def ceiling(load: Load, size: int) -> float:
    """Requests a second that no plan of such bursts can pass: the cores', the card's and the clients' own."""
    seconds, frames = load.prepare, dict.fromkeys([CLIP.get(load.task, "")], 1)
    if load.task in TWO:
        seconds += DECODE_S + CUT_S * load.parts
        frames = dict(zip(TWO[load.task], (TILES if load.task == "pages" else 1, load.parts), strict=True))
    alone, share = seconds, 0.0
    for name, count in frames.items():
        cost = cost_of(name, 4, 0, chip="hailo8", link=load.link)
        first = cost.latency or cost.overhead + cost.per_frame
        alone += first if count else 0.0
        share += count * (first + (size - 1) * cost.per_frame) / size
    return min(load.cores / seconds, 1 / share, load.clients / alone)


def best_fixed(load: Load) -> tuple[float, int]:
    """Requests a second with the best of the fixed sizes, and that size. What cannot be the best is not run."""
    best = (0.0, 0)
    for size in sorted(sizes(load), key=lambda size: -ceiling(load, size)):
        if NOISE * ceiling(load, size) > best[0]:
            best = max(best, (measure(load, fixed, size, 10)[0], size))
    return best


@dataclass(frozen=True, slots=True)
class Cell:
    """Requests a second: as planned, and with the best `size` that never changes."""

    load: Load
    rate: float
    best: float
    size: int

    @property
    def ratio(self) -> float:
        return self.rate / self.best


def cell(load: Load) -> Cell:
    """One cell of the grid."""
    return Cell(load, measure(load, planned)[0], *best_fixed(load))


def grid() -> list[Load]:
    tasks = [
        *((backend, 0) for backend in CLIP),
        *(("faces", faces) for faces in (0, 1, 3, 10)),
        ("pages", 3),
    ]
    return [
        Load(task, clients, prepare, link, parts)
        for task, parts in tasks
        for link in ("slow", "fast")
        for prepare in (0.005, 0.02, 0.08)
        for clients in (1, 2, 4, 8, 16, 32)
    ]
