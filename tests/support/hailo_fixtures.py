"""Fixtures for tests of the Hailo engine, by `pytest_plugins = ("hailo_fixtures",)`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hailo_engines import Engines
from hailo_sim import Rig, simulated

from ml_target.engines.hailo import engine as hailo


@pytest.fixture
def no_card_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs the tests may have a card of its own; it has no say here."""
    monkeypatch.setattr(hailo, "host_checks", lambda **_: [])


@pytest.fixture
def rig(no_card_here: None) -> Iterator[Rig]:
    with simulated(Rig(clock="virtual")) as made:
        yield made


@pytest.fixture
def engines(rig: Rig, tmp_path: Path) -> Iterator[Engines]:
    made = Engines(tmp_path)
    yield made
    for engine in made.opened:
        engine.close()
