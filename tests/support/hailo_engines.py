"""Engines on a simulated card with two tiny networks: what tests of the Hailo engine share.

The fixtures to go with it are in `card_fixtures.py`.
"""

import gc
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hailo_sim.build import tiny

from ml_target.catalogue.types import Network, PictureInput, Vector
from ml_target.engines.hailo import slots as hailo_slots
from ml_target.engines.hailo import turns as hailo_turns
from ml_target.engines.hailo.card import CardSettings
from ml_target.engines.hailo.engine import HailoEngine
from ml_target.engines.hailo.network import HailoNetwork
from ml_target.errors import (
    BurstLost,
)
from ml_target.tensors import Array

SIDE = (4, 6, 3)


def network(name: str, width: int = 8) -> Network:
    spec = PictureInput(SIDE[0], SIDE[1], "RGB", mean=(0.0,) * 3, std=(1.0,) * 3)
    return Network(name, "clip", "visual", spec, ((Vector("embedding", width),),), onnx=())


SMALL, BIG = network("small"), network("big")


class Engines:
    """Makes engines, and files of tiny networks. `left`: statuses with which they wanted to leave the process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left: list[int] = []
        self.ahead = 0.0
        """Seconds that the engines' clock is ahead of the computer's."""
        self.opened: list[HailoEngine] = []

    def start(self, **card: Any) -> HailoEngine:
        engine = HailoEngine(CardSettings(**card), leave=self.left.append, clock=lambda: time.monotonic() + self.ahead)
        self.opened.append(engine)
        engine.start()
        return engine

    def file(self, of: Network, **how: Any) -> Path:
        path = self.folder / f"{of.name}.hef"
        path.write_bytes(tiny(of.name, SIDE, **how))
        return path

    def both(self, **card: Any) -> tuple[HailoEngine, HailoNetwork, HailoNetwork]:
        """A small network, and a big one of several contexts, on one engine."""
        engine = self.start(**card)
        small = engine.open(self.file(SMALL), SMALL)
        big = engine.open(self.file(BIG, contexts=4), BIG)
        assert isinstance(small, HailoNetwork)
        assert isinstance(big, HailoNetwork)
        return engine, small, big


def pictures(count: int, seed: int = 0) -> list[Array]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, *SIDE), np.uint8))


def slots() -> int:
    """Arrays with bindings, of all networks, that are not garbage."""
    gc.collect()
    return sum(type(each) is hailo_slots.Slot for each in gc.get_objects())


def lose(loaded: HailoNetwork) -> None:
    with pytest.raises(BurstLost):
        loaded.run(pictures(1))
    assert not loaded.alive


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hailo_turns, "FLOOR_S", 0.5)


def attempt(loaded: HailoNetwork, frames: int = 2) -> str:
    try:
        loaded.run(pictures(frames))
    except BurstLost:
        return "lost"
    return "answered"
