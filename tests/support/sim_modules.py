"""The simulated `hailo_platform` as modules: what tests of the simulator's interface share.

A test module takes the fixtures by `pytest_plugins = ("sim_modules",)`.
"""

import importlib
from collections.abc import Iterator
from types import ModuleType

import pytest
from hailo_sim import Rig, simulated


@pytest.fixture
def rig() -> Iterator[Rig]:
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
