"""The card and HailoRT's package: what they report, and whether their versions fit. Nothing here raises."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ml_target.catalogue.types import Chip
from ml_target.config import Settings
from ml_target.diagnostics.findings import is_barred
from ml_target.engines.hailo.device import chip_of, take_cards
from ml_target.engines.hailo.package import explain_import
from ml_target.engines.hailo.status import explain, status_of
from ml_target.engines.hailo.versions import firmware_check, library_check
from ml_target.hailort.load import import_hailort
from ml_target.hailort.packages import FOLDER
from ml_target.system.cards import OTHER_CHIP, driver_version, id_choices
from ml_target.system.finding import Finding

WARM_C, HOT_C = 85.0, 104.0
"""Above the first, a note; at the second (as reported for Hailo-8), the card lowers its clock."""


def card_findings(settings: Settings, root: Path = Path("/")) -> list[Finding]:
    """Findings about HailoRT, the driver and the card, even while another program uses it."""
    found = list(library(root, settings.hailort_dir))
    if version := driver_version(root):
        found.append(Finding(True, "driver", f"hailo_pci {version}"))
    if not is_barred(found):
        found += CardReport(settings, root).read()
    return found


def library_version() -> str:
    """The version of HailoRT's Python package; "" if it is not installed."""
    try:
        return importlib.metadata.version("hailort")
    except importlib.metadata.PackageNotFoundError:
        return ""


def library(root: Path = Path("/"), packages: Path = FOLDER) -> Iterator[Finding]:
    """Whether HailoRT can be loaded here, and whether driver and numpy fit it. `packages`: its folder of packages."""
    try:
        hailo_platform = import_hailort(packages, root)
    except Exception as error:  # a version mismatch shows as almost any of them
        detail, remedy = explain_import(error)
        yield Finding(False, "HailoRT", detail, remedy, bars=True)
        return
    version = _version(hailo_platform)
    yield library_check(version, driver_version(root))
    if int(np.__version__.partition(".")[0]) >= 2:
        remedy = 'pip install "numpy<2" "opencv-python-headless<4.12"'
        yield Finding(False, "numpy", f"version {np.__version__}; HailoRT 4 is built for numpy 1", remedy)


class CardReport:
    """What the card reports through HailoRT; `chip` and HailoRT's version `library` are known once it has been read."""

    def __init__(self, settings: Settings, root: Path = Path("/")) -> None:
        self._settings = settings
        self._choices = id_choices(settings.hailo_device_ids, settings.hailo_device_count, root)
        self.chip: Chip | None = None
        self.library = ""

    def read(self) -> Iterator[Finding]:
        """Identity, temperature, power. Works beside a worker that uses the card."""
        try:
            hailo_platform = import_hailort(self._settings.hailort_dir)
            # Kept in a variable: HailoRT releases the device with its last reference, even if `control` is still held.
            device = hailo_platform.Device(*self._choices[0][:1])
        except Exception as error:
            yield _failed("identity", error)
            return
        try:
            self.library = _version(hailo_platform)
            yield from self._read(device, self.library)
        finally:
            device.release()

    def answers(self) -> bool:
        """Whether the card can be identified, and is one that this worker drives."""
        list(self.read())
        return self.chip is not None

    def open(self) -> Finding:
        """Opens the card as the worker does, and releases it."""
        try:
            settings = self._settings
            hailo_platform = import_hailort(settings.hailort_dir)
            device = take_cards(hailo_platform, self._choices, settings.hailo_device_count, settings.hailo_group_id)
            device.release()
        except Exception as error:
            return _failed("opening", error)
        return Finding(True, "opening", "the card can be opened")

    def _read(self, device: Any, library: str) -> Iterator[Finding]:
        try:
            board = device.control.identify()
        except Exception as error:
            yield _failed("identity", error)
            return
        architecture, self.chip = chip_of(board)
        if self.chip is None:
            remedy = f"{OTHER_CHIP}, or ENGINE=cpu"
            yield Finding(False, "identity", f"{architecture}, firmware {board.firmware_version}", remedy)
        else:
            yield Finding(True, "identity", architecture)
            yield firmware_check(str(board.firmware_version), library)
        yield self._temperature(device)
        try:
            yield Finding(True, "power", f"{float(device.control.power_measurement()):.1f} W")
        except Exception:
            yield Finding(None, "power", "this board does not measure it")

    def _temperature(self, device: Any) -> Finding:
        try:
            reading = device.control.get_chip_temperature()
            degrees = max(float(reading.ts0_temperature), float(reading.ts1_temperature))
        except Exception as error:
            return Finding(None, "temperature", "cannot be read", explain(status_of(error)), looked=False)
        air = "Give the card a heat sink or more air: it slows down, then stops by itself"
        if degrees < WARM_C:
            return Finding(True, "temperature", f"{degrees:.0f} °C")
        return Finding(None if degrees < HOT_C else False, "temperature", f"{degrees:.0f} °C", air)


def _version(package: Any) -> str:
    return library_version() or str(getattr(package, "__version__", ""))


def _failed(what: str, error: Exception) -> Finding:
    return Finding(False, what, f"{type(error).__name__}: {error}", explain(status_of(error)))
