"""Thousands of mixed requests on a simulated card: nothing grows, nobody waits for ever, every answer is right."""

import asyncio
import gc
import logging
import random
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import tiny
from hailo_worker import MOST_SLOTS as MOST_OVER_HTTP
from hailo_worker import SPEED, Crowd, mixed, models_folder, resident, running, wait_until

from ml_target.catalogue.types import Network, PictureInput, Vector
from ml_target.engines.hailo import slots as hailo_slots
from ml_target.engines.hailo import turns as hailo_turns
from ml_target.engines.hailo.card import CardSettings
from ml_target.engines.hailo.engine import HailoEngine
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.tensors import Array, UInt8

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_card_here")]  # thousands of requests

SIDE = (4, 6, 3)
REQUESTS = 2000
CLIENTS = 16
MOST_FRAMES = 11
MOST_SLOTS = CLIENTS * MOST_FRAMES + 3 * (16 + 1)
"""Output arrays that may be needed at a time: all clients look at their answers, all queues are full."""

PHOTOS = 200


def network(name: str) -> Network:
    spec = PictureInput(SIDE[0], SIDE[1], "RGB", mean=(0.0,) * 3, std=(1.0,) * 3)
    return Network(name, "clip", "visual", spec, ((Vector("embedding", 8),),), onnx=())


class Card:
    """Three networks behind one arbiter: clip and faces in bulk, queries in between."""

    def __init__(self, rig: Rig, folder: Path) -> None:
        self.rig = rig
        self.engine = HailoEngine(CardSettings())
        self.engine.start()
        self.arbiter = Arbiter(1, patient=True, ahead=True, recover=self.engine.recover)
        self.models = [
            self._model(folder, "clip", contexts=4),
            self._model(folder, "faces", contexts=1),
            self._model(folder, "query", contexts=2, interactive=True),
        ]

    def _model(self, folder: Path, name: str, *, contexts: int, interactive: bool = False) -> Model:
        of, path = network(name), folder / f"{name}.hef"
        path.write_bytes(tiny(name, SIDE, contexts=contexts))
        loaded = self.engine.open(path, of)
        return Model(
            of, self.arbiter.queue(loaded, of.name, interactive=interactive), Provenance(path.name, "", "hailo")
        )

    def alone(self, photos: Sequence[UInt8]) -> list[list[Array]]:
        """The embedding of every photo by every model, one at a time."""
        return [[m.loaded.run([photo])[0]["embedding"].values.copy() for photo in photos] for m in self.models]

    def close(self) -> None:
        self.arbiter.close()
        self.engine.close()


@pytest.fixture
def card(tmp_path: Path) -> Iterator[Card]:
    with simulated(Rig(clock="virtual")) as rig:
        made = Card(rig, tmp_path)
        yield made
        made.close()
        assert not rig.held
        assert not rig.record.crashes


class Soak:
    """Clients that ask for one to eleven photos at a time, and lose patience now and then."""

    def __init__(self, card: Card, seed: int) -> None:
        self.card = card
        self.rng = random.Random(seed)
        pixels = np.random.default_rng(seed).integers(0, 256, (PHOTOS, *SIDE), np.uint8)
        self.photos: list[UInt8] = list(pixels)
        self.expected = card.alone(self.photos)
        self.answered = self.cancelled = self.wrong = 0
        self.left = 0

    async def run(self, requests: int) -> None:
        self.left = requests
        clients = [asyncio.create_task(self._client()) for _ in range(CLIENTS)]
        await asyncio.wait_for(asyncio.gather(*clients), 120)
        assert all(not model.queue.waiting for model in self.card.models)

    async def _client(self) -> None:
        while self.left > 0:
            self.left -= 1
            which = self.rng.choices(range(3), (5, 3, 1))[0]
            picked = self.rng.sample(range(PHOTOS), self.rng.choice((1, 1, 1, 2, 3, MOST_FRAMES)))
            asked = asyncio.create_task(self._ask(which, picked))
            if self.rng.random() < 0.1:
                await asyncio.sleep(self.rng.choice((0, 0, 0.001, 0.003)))
                asked.cancel()
            try:
                await asked
                self.answered += 1
            except asyncio.CancelledError:
                self.cancelled += 1

    async def _ask(self, which: int, picked: list[int]) -> None:
        model = self.card.models[which]
        with model.coming(len(picked)):
            await asyncio.sleep(0)
        outputs = await model.infer([self.photos[index] for index in picked])
        for index, output in zip(picked, outputs, strict=True):
            self.wrong += not np.array_equal(output["embedding"].values, self.expected[which][index])


def slots() -> int:
    gc.collect()
    return sum(type(each) is hailo_slots.Slot for each in gc.get_objects())


def bindings(rig: Rig) -> int:
    return sum(model.bindings for model in rig.record.models.values())


def test_thousands_of_mixed_requests(card: Card) -> None:
    others = slots() - bindings(card.rig)
    soak = Soak(card, seed=11)
    asyncio.run(soak.run(REQUESTS // 4))
    threads = threading.active_count()
    tracemalloc.start()
    try:
        asyncio.run(soak.run(REQUESTS // 4))
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        asyncio.run(soak.run(REQUESTS // 2))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert soak.wrong == 0
    assert soak.answered + soak.cancelled == REQUESTS
    assert 0 < soak.cancelled < REQUESTS / 5
    assert bindings(card.rig) == slots() - others <= MOST_SLOTS, "no slot was lost, none made without need"
    assert threading.active_count() <= threads
    # The simulator remembers its last bursts; a request that stayed would take a kilobyte or more.
    assert after - before < 400 * REQUESTS / 2
    for name, record in card.rig.record.models.items():
        assert record.max_in_flight <= 2 * 32, name
        assert record.configured == 1, name
        assert record.failed == record.refused == 0, name
    full = sum(n * count for n, count in card.rig.record.models["clip"].bursts.items() if n > 1)
    assert full > card.rig.record.models["clip"].frames / 2, "frames of several requests shared bursts"


def test_faults_in_between(card: Card, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Again and again something breaks; whoever was not cancelled is answered, and rightly."""
    caplog.set_level(logging.CRITICAL, "ml_target.scheduling")  # pytest would keep the errors, and they their bursts
    from ml_target.scheduling import recovery

    monkeypatch.setattr(recovery, "BACK_OFF_S", (0.0, 0.05))
    monkeypatch.setattr(hailo_turns, "FLOOR_S", 1.5)
    others = slots() - bindings(card.rig)
    soak = Soak(card, seed=12)
    faults = card.rig.faults
    strikes = [
        lambda: faults.fail_frames("clip"),
        lambda: faults.kill("faces"),
        faults.abort_device,
        lambda: faults.hang("clip"),
        lambda: faults.refuse_open(2),
        faults.abort_device,
    ]

    async def broken() -> None:
        running = asyncio.create_task(soak.run(2000))
        for strike in strikes:
            await asyncio.sleep(0.25)
            strike()
            goal = soak.answered + 100  # a frame that is lost twice is refused: each strike waits for the last one's
            while not running.done() and soak.answered < goal:
                await asyncio.sleep(0.01)
        await running

    asyncio.run(broken())
    assert soak.wrong == 0
    assert soak.answered + soak.cancelled == 2000
    assert card.rig.record.opened > 1
    asyncio.run(soak.run(200))
    assert slots() - others <= MOST_SLOTS, "what earlier configurations had is gone"


def test_hundreds_of_requests_over_http(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = models_folder(wheel_models, tmp_path_factory.getbasetemp())
    with running(Rig(clock=SPEED), folder) as served:
        asks, first = mixed(2), slots()
        expected = served.alone(asks)
        with Crowd(served, asks, expected) as crowd:
            crowd.wait_for(100)
        gc.collect()
        threads, memory = threading.active_count(), resident()
        with Crowd(served, asks, expected) as crowd:
            crowd.wait_for(200)
        assert crowd.tally.answered == {200: crowd.tally.total}, crowd.tally.words[:3]
        assert not crowd.tally.wrong
        wait_until(lambda: threading.active_count() <= threads)
        assert slots() <= first + MOST_OVER_HTTP
        assert resident() < memory + 64 * 2**20
        assert all(record.configured == 1 for record in served.rig.record.models.values())
