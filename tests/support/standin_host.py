"""Hosts made of files, and a small library of HailoRT's shape, for the checks and the doctor."""

import sys
import weakref
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ml_target.system.finding import Finding

LOADED = {"sys/module/hailo_pci/version": "4.23.0"}
MEMORY = {"proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n"}


class Host:
    """A tree that looks like a host's /sys, /dev and /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def write(self, files: dict[str, str]) -> "Host":
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n", encoding="ascii")
        return self

    def card(
        self,
        address: str = "0000:01:00.0",
        device: str = "0x2864",
        bound: bool = True,
        link: dict[str, str] | None = None,
    ) -> "Host":
        values = {"current_link_speed": "8.0 GT/s PCIe", "current_link_width": "4"}
        values |= {
            "max_link_speed": "8.0 GT/s PCIe",
            "max_link_width": "4",
            "vendor": "0x1e60",
            "device": device,
        }
        values |= link or {}
        self.write({f"sys/bus/pci/devices/{address}/{name}": value for name, value in values.items()})
        if bound:
            driver = self.root / "sys/bus/pci/drivers/hailo_pci"
            driver.mkdir(parents=True, exist_ok=True)
            (self.root / f"sys/bus/pci/devices/{address}/driver").symlink_to(driver)
        return self

    def node(self, name: str = "hailo0", listed: bool = True) -> "Host":
        self.write({f"dev/{name}": ""})
        return self.write({f"sys/class/hailo_chardev/{name}/uevent": ""}) if listed else self

    def listed(self, name: str, address: str = "0000:01:00.0") -> "Host":
        """As the driver lists a card whose node may be elsewhere."""
        return self.write({f"sys/class/hailo_chardev/{name}/board_location": address})

    def healthy(self) -> "Host":
        return self.card().node().write(LOADED | MEMORY)


def find(found: list[Finding], what: str) -> Finding:
    (one,) = [finding for finding in found if finding.what == what]
    return one


class HailoRTException(Exception):
    pass


class Device:
    """As HailoRT's: it is released with its last reference, and what its control is asked for then fails."""

    def __init__(self, library: "Library") -> None:
        self._library: Library | None = library
        self.control = Control(weakref.ref(self))

    def ask(self, question: str) -> Any:
        if self._library is None:
            raise HailoRTException(RELEASED)
        return getattr(self._library, question)()

    def release(self) -> None:
        if self._library is not None:
            self._library.devices_released += 1
            self._library = None

    def __del__(self) -> None:
        self.release()


class Control:
    def __init__(self, device: "weakref.ref[Device]") -> None:
        self._device = device

    def _ask(self, question: str) -> Any:
        if (device := self._device()) is None:
            raise HailoRTException(RELEASED)
        return device.ask(question)

    def identify(self) -> Any:
        return self._ask("identify")

    def get_chip_temperature(self) -> Any:
        return self._ask("temperature")

    def power_measurement(self) -> Any:
        return self._ask("power")


RELEASED = "The device in use has been released. This can happen if the device is used in one-liner usage of control"


class Library:
    """A small stand-in for hailo_platform; attributes decide what fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, version: str = "4.23.0") -> None:
        self.architecture = "HAILO8"
        self.degrees = 48.5
        self.has_power = True
        self.device_error = self.open_error = self.temperature_error = ""
        self.firmware = "4.23.0 (release,app)"
        self.released = self.devices_released = 0
        self.params: Any = None
        self.ids: tuple[str, ...] | None = None
        module = ModuleType("hailo_platform")
        module.__dict__.update(
            __version__=version,
            Device=self.device,
            VDevice=self.virtual_device,
            HailoSchedulingAlgorithm=SimpleNamespace(ROUND_ROBIN=1),
        )
        self.virtual_device.__func__.create_params = lambda: SimpleNamespace()  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "hailo_platform", module)

    def device(self, *ids: str) -> "Device":
        self.ids = ids
        _fail(self.device_error)
        return Device(self)

    def identify(self) -> SimpleNamespace:
        return SimpleNamespace(device_architecture=self.architecture, firmware_version=self.firmware)

    def virtual_device(self, params: Any) -> SimpleNamespace:
        self.params = params
        _fail(self.open_error)
        return SimpleNamespace(release=lambda: setattr(self, "released", self.released + 1))

    def temperature(self) -> SimpleNamespace:
        _fail(self.temperature_error)
        return SimpleNamespace(ts0_temperature=self.degrees - 1, ts1_temperature=self.degrees)

    def power(self) -> float:
        _fail("" if self.has_power else "libhailort control operation failed")
        return 2.345


def _fail(text: str) -> None:
    if text:
        raise HailoRTException(text)


def status(number: int) -> str:
    return f"libhailort failed with error: {number} (HAILO_X)"
