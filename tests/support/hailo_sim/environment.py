"""A rig from environment variables, for a process of its own; `site/hailo_platform` lists them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

from hailo_sim.modules import install
from hailo_sim.remote import serve
from hailo_sim.rig import LIBRARY_VERSION, Chip, Link, Rig, Sensor


def rig_of(variables: Mapping[str, str]) -> Rig:
    """The rig that the variables describe. Raises ValueError for a word nobody knows."""

    def word(name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = variables.get(f"HAILO_SIM_{name}", default)
        if value not in allowed:
            raise ValueError(f"HAILO_SIM_{name}={value}, one of {', '.join(allowed)} is wanted")
        return value

    clock = variables.get("HAILO_SIM_CLOCK", "real")
    driver = variables.get("HAILO_SIM_DRIVER", LIBRARY_VERSION)
    nodes = variables.get("HAILO_SIM_NODES")
    mark = variables.get("HAILO_SIM_HELD_BY")
    rig = Rig(
        link=cast(Link, word("LINK", "fast", ("fast", "slow"))),
        chip=cast(Chip, word("CHIP", "hailo8", ("hailo8", "hailo8l"))),
        clock=clock if clock in ("real", "virtual") else float(clock),
        cards=int(variables.get("HAILO_SIM_CARDS", "1")),
        driver_version=None if driver == "none" else driver,
        held_by=Path(mark) if mark else None,
        service=cast(Literal["off", "on", "old"], word("SERVICE", "off", ("off", "on", "old"))),
        list_split=word("LIST_SPLIT", "1", ("0", "1")) == "1",
        idle_optimisation=not variables.get("HAILO_DISABLE_IDLE_OPT", "").startswith("1"),
        nodes=tuple(map(int, filter(None, nodes.split(",")))) if nodes is not None else None,
        power_sensor=cast(Sensor, word("SENSOR", "plain", ("plain", "m2", "none"))),
        on_crash=cast(Literal["raise", "abort"], word("CRASH", "abort", ("abort", "raise"))),
    )
    rig.faults.apply(variables.get("HAILO_SIM_FAULTS", ""))
    return rig


def install_from_environment() -> None:
    """Makes this process's `hailo_platform` the simulator."""
    rig = rig_of(os.environ)
    if path := os.environ.get("HAILO_SIM_CONTROL"):
        serve(rig, Path(path))
    install(rig)
