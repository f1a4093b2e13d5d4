"""The rig that `hailo_platform` speaks to: one at a time in a process."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hailo_sim.rig import Rig

_rigs: list["Rig"] = []


def current() -> "Rig":
    """The rig switched on last."""
    if not _rigs:
        raise RuntimeError("no simulated rig is switched on")
    return _rigs[-1]


def switch_on(rig: "Rig") -> None:
    _rigs.append(rig)


def switch_off(rig: "Rig") -> None:
    _rigs.remove(rig)
