"""A plugin of pytest: the simulated card, the modules that stand for HailoRT's, and engines on it.

One plugin, as fixtures of plugins are seen by all tests: two of the same name would take each other's place.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hailo_engines import Engines
    from hailo_sim import Rig


@pytest.fixture
def no_card_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs the tests may have a card of its own; it has no say here."""
    monkeypatch.setattr("ml_target.engines.hailo.engine.host_checks", lambda **_: [])


@pytest.fixture
def rig(no_card_here: None) -> Iterator[Rig]:
    from hailo_sim import Rig, simulated

    with simulated(Rig(clock="virtual")) as made:
        yield made


@pytest.fixture
def hailo(rig: Rig) -> ModuleType:
    return importlib.import_module("hailo_platform")


@pytest.fixture
def inner(rig: Rig) -> ModuleType:
    return importlib.import_module("hailo_platform.pyhailort.pyhailort")


@pytest.fixture
def raw(rig: Rig) -> ModuleType:
    return importlib.import_module("hailo_platform.pyhailort._pyhailort")


@pytest.fixture
def device(hailo: ModuleType) -> Iterator[Any]:
    from hailo_sim.driving import open_device

    opened = open_device(hailo)
    yield opened
    opened.release()


@pytest.fixture
def engines(rig: Rig, tmp_path: Path) -> Iterator[Engines]:
    from hailo_engines import Engines

    made = Engines(tmp_path)
    yield made
    for engine in made.opened:
        engine.close()
