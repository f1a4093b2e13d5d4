"""The simulated computer: its cards, driver and clock; who holds which card; what went wrong and what happened."""

import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, NoReturn

from hailo_sim.clock import Clock, RealClock, VirtualClock, hold_for_ever
from hailo_sim.faults import Faults
from hailo_sim.hef_file import NativeCrash
from hailo_sim.record import Record
from hailo_sim.scheduler import Card

if TYPE_CHECKING:
    from hailo_sim.device import OpenDevice
    from hailo_sim.pipeline import Pipeline

LIBRARY_VERSION = "4.23.0"
FIRMWARE_VERSION = (4, 23, 0)
Chip = Literal["hailo8", "hailo8l"]
Link = Literal["fast", "slow"]
Sensor = Literal["plain", "m2", "none"]


class Rig:
    """One computer.

    `clock`: "real", "virtual", or a speed: 10.0 runs ten simulated seconds in one.
    `list_split`: the scheduler wakes at the first frame of a list (docs/hailort.md §5.3): true to the
    worst case. `service`: "off", "on" or "old" hailort_service. `held_by`: a file that stands
    for the driver's mark, so that processes exclude each other. `on_crash`: what a native crash
    does, "raise" NativeCrash or "abort" the process; a deadlock is noted as one, and with "abort"
    it is one: the GIL is held for ever. `queue_scale`: S of the queue formula (§2.3). `nodes`: which
    of the cards, from 0, have a device node here (all). `power_sensor`: "m2" warns at every reading.
    """

    def __init__(
        self,
        *,
        link: Link = "fast",
        chip: Chip = "hailo8",
        clock: str | float = "real",
        cards: int = 1,
        driver_version: str | None = LIBRARY_VERSION,
        list_split: bool = True,
        service: Literal["off", "on", "old"] = "off",
        held_by: Path | None = None,
        on_crash: Literal["raise", "abort"] = "raise",
        queue_scale: int = 8,
        idle_optimisation: bool = True,
        nodes: tuple[int, ...] | None = None,
        power_sensor: Sensor = "plain",
        firmware: tuple[int, int, int] = FIRMWARE_VERSION,
    ) -> None:
        self.link, self.chip, self.cards = link, chip, cards
        self.driver_version, self.service, self.held_by = driver_version, service, held_by
        self.list_split, self.queue_scale, self.idle_optimisation = list_split, queue_scale, idle_optimisation
        self.on_crash = on_crash
        self.nodes, self.power_sensor, self.firmware = nodes, power_sensor, firmware
        self.celsius, self.watts, self.throttling = 52.0, 2.1, True
        self.shutdown_stall = 10.0
        self.lock = threading.Condition()
        self.clock: Clock = VirtualClock(self.lock) if clock == "virtual" else RealClock(self.lock, _speed(clock))
        self.record = Record()
        self.faults = Faults(self)
        self.held: dict[str, OpenDevice] = {}
        self.groups: dict[str, OpenDevice] = {}
        self._mark: IO[str] | None = None

    @property
    def ids(self) -> list[str]:
        """The bus addresses of all cards that are there."""
        return [] if self.faults.unplugged else [f"0000:{bus:02x}:00.0" for bus in range(1, self.cards + 1)]

    @property
    def openable(self) -> list[str]:
        """Those of them that have a device node here."""
        return [i for number, i in enumerate(self.ids) if self.nodes is None or number in self.nodes]

    @property
    def virtual(self) -> VirtualClock:
        """The clock, where it is virtual."""
        assert isinstance(self.clock, VirtualClock)
        return self.clock

    def devices(self) -> list["OpenDevice"]:
        """Those open, each once."""
        return list(dict.fromkeys(self.held.values()))

    def pipelines(self) -> Iterator["Pipeline"]:
        """All configured models."""
        for device in self.devices():
            yield from list(device.pipelines)

    def claim(self, ids: list[str], device: "OpenDevice", *, through_service: bool) -> list[Card] | None:
        """Marks the cards as held; None where one is held already, here or by another process.

        `through_service`: the service holds them, and gives other programs their share.
        """
        if any(i in self.held for i in ids):
            return None
        if not through_service and (self.faults.occupied or not self._take_mark()):
            return None
        self.held.update(dict.fromkeys(ids, device))
        return [Card(i) for i in ids]

    def yield_up(self, device: "OpenDevice") -> None:
        """Takes the device's marks away."""
        for key in [i for i, d in self.held.items() if d is device]:
            del self.held[key]
        for group in [g for g, d in self.groups.items() if d is device]:
            del self.groups[group]
        if not self.held and self._mark is not None:
            self._mark.close()
            self._mark = None
        self.record.released += 1

    def hold_gil(self, call: str) -> None:
        """Lets the simulated duration of a call pass that holds the GIL on a real installation."""
        self.clock.spend(self.faults.seconds(call))

    def crash(self, why: str) -> NoReturn:
        """A native crash."""
        self.note_crash(why)
        raise NativeCrash(why)

    def freeze(self, why: str) -> None:
        """A deadlock in a call that holds the GIL."""
        self.record.crashes.append(f"deadlock: {why}")
        if self.on_crash == "abort":
            hold_for_ever()

    def note_crash(self, why: str) -> None:
        self.record.crashes.append(why)
        if self.on_crash == "abort":
            os.abort()

    def close(self) -> None:
        """Ends what is still open: for the end of a test."""
        self.faults.free_teardown()
        for pipeline in self.pipelines():
            pipeline.close()
        for device in self.devices():
            device.release_all()

    def _take_mark(self) -> bool:
        """The driver's mark: it ends with the process, however that ends (docs/hailort.md §7.1)."""
        if self.held_by is None or self._mark is not None:
            return True
        mark = self.held_by.open("w")
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            mark.close()
            return False
        self._mark = mark
        return True


def _speed(clock: str | float) -> float:
    return 1.0 if clock == "real" else float(clock)
