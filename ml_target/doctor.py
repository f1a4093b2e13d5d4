"""`python3 -m ml_target.doctor`: the card, its driver, HailoRT and the model files: what is wrong and the remedy."""

import argparse
import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ml_target.catalogue.needs import needs
from ml_target.catalogue.networks import NETWORKS
from ml_target.catalogue.types import Chip, Network
from ml_target.config import Settings
from ml_target.errors import ModelError, SettingsError
from ml_target.hailo_host import Finding, cards, driver_version, host_checks, memory_check, nodes
from ml_target.hailo_package import PYTHON, explain_import
from ml_target.hailo_status import explain, status_of
from ml_target.hef_fit import check_fit
from ml_target.log.terminal import replace_unprintable
from ml_target.remedies import fetch
from ml_target.store import Store
from ml_target.store.command import open_store

__all__ = ["Finding", "checks", "main"]

CHIPS: dict[str, Chip] = {"HAILO8": "hailo8", "HAILO8L": "hailo8l"}
SEAT = "Seat the card and look at lspci -d 1e60:; or ENGINE=cpu"
WARM_C, HOT_C = 85.0, 104.0
"""Above the first it is worth knowing; at the second (reported for Hailo-8) the card lowers its clock."""


def checks(root: Path = Path("/"), environment: Mapping[str, str] = os.environ) -> list[Finding]:
    """Everything that can be told before the device is opened; for the start of the worker too. Never raises.

    One finding, neither right nor wrong, when there is no card at all.
    """
    host = host_checks(root, environment)
    if not host:
        return [Finding(None, "card", "this machine has no Hailo card")]
    return [*host, *_library(root)]


def main(arguments: list[str] | None = None, root: Path = Path("/")) -> int:
    """Prints what was found and the remedies. Exit code 1 when something is wrong, 2 for a bad setting."""
    replace_unprintable()
    parser = argparse.ArgumentParser(prog="python3 -m ml_target.doctor", description=main.__doc__)
    parser.add_argument("--open", action="store_true", help="also open the card, which fails while a worker holds it")
    parser.add_argument("--chip", action="store_true", help="only ask the card what it is: hailo8 or hailo8l")
    args = parser.parse_args(arguments)
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if args.chip:
        return _tell_chip(settings, root)
    found = [Finding(True, "system", f"{platform.system()} {platform.release()}, {platform.machine()}, {PYTHON}")]
    found += _examine(settings, root, args.open)
    print(as_text(found))
    return 1 if any(finding.ok is False for finding in found) else 0


def card_findings(settings: Settings, root: Path = Path("/")) -> list[Finding]:
    """HailoRT here, the driver, and what the card says of itself, also while another program uses it. Never raises."""
    found = list(_library(root))
    if version := driver_version(root):
        found.append(Finding(True, "driver", f"hailo_pci {version}"))
    if not any(finding.ok is False for finding in found if finding.what == "HailoRT"):
        found += _CardReport(settings).read()
    return found


def library_version() -> str:
    """Of HailoRT's Python package, "" where it is not installed."""
    try:
        return importlib.metadata.version("hailort")
    except importlib.metadata.PackageNotFoundError:
        return ""


def as_text(found: Iterable[Finding]) -> str:
    """One aligned line a finding, its remedy below."""
    found = list(found)
    width = max(len(finding.what) for finding in found)
    marks = {True: "ok   ", False: "WRONG", None: "note "}
    lines = []
    for finding in found:
        lines.append(f"{marks[finding.ok]}  {finding.what.ljust(width)}  {finding.detail}")
        if finding.remedy:
            lines.append(f"{' ' * (width + 9)}-> {finding.remedy}")
    wrong = sum(finding.ok is False for finding in found)
    return "\n".join([*lines, "", f"{wrong} wrong" if wrong else "nothing is wrong"])


def _examine(settings: Settings, root: Path, open_device: bool) -> Iterator[Finding]:
    if not cards(root) and not nodes(root):
        wanted = settings.engine == "hailo"
        remedy = SEAT if wanted else ""
        outcome = "ENGINE=hailo cannot be" if wanted else "the CPU engine is used"
        yield Finding(False if wanted else None, "card", f"this machine has no Hailo card; {outcome}", remedy)
        return
    if settings.engine == "cpu":
        yield Finding(None, "ENGINE", "cpu: the card is left alone")
    before = checks(root)
    yield from before
    chip: Chip | None = None
    if not any(finding.ok is False for finding in before if finding.what in ("HailoRT", "device node")):
        card = _CardReport(settings)
        yield from card.read()
        if open_device:
            yield card.open()
        chip = card.chip
    if settings.engine != "cpu":
        yield from _files(settings, root, chip)


def _tell_chip(settings: Settings, root: Path) -> int:
    """Prints the chip alone, for scripts; where the card does not say it, what is wrong goes to standard error."""
    found = checks(root)
    if any(finding.what == "HailoRT" and finding.ok for finding in found):
        card = _CardReport(settings)
        found += card.read()
        if card.chip:
            print(card.chip)
            return 0
    wrong = [finding for finding in found if finding.ok is False]
    print(as_text(wrong or [Finding(False, "card", found[0].detail, SEAT)]), file=sys.stderr)
    return 1


# ------------------------------------------------------------------- library


def _library(root: Path) -> Iterator[Finding]:
    try:
        import hailo_platform
    except Exception as error:  # a version mismatch shows as almost any of them
        detail, remedy = explain_import(error)
        yield Finding(False, "HailoRT", detail, remedy)
        return
    try:
        version = importlib.metadata.version("hailort")
    except importlib.metadata.PackageNotFoundError:
        version = str(getattr(hailo_platform, "__version__", ""))
    driver = driver_version(root)
    if driver and version and _numbers(driver) != _numbers(version):
        detail = f"version {version}, but the driver on the host is {driver}: the card will refuse (status 76)"
        yield Finding(False, "HailoRT", detail, f"Install HailoRT {driver} here, or the driver {version} on the host")
    else:
        yield Finding(True, "HailoRT", f"version {version or 'unknown'}")
    if int(np.__version__.partition(".")[0]) >= 2:
        remedy = 'pip install "numpy<2" "opencv-python-headless<4.12"'
        yield Finding(False, "numpy", f"version {np.__version__}; HailoRT 4 is built for numpy 1", remedy)


def _numbers(version: str) -> tuple[str, ...]:
    """Major, minor and revision; the rest does not count."""
    return tuple(re.findall(r"\d+", version)[:3])


class _CardReport:
    """What the card says of itself through HailoRT; `chip` is known once it has been read."""

    def __init__(self, settings: Settings) -> None:
        import hailo_platform

        self._hailo: Any = hailo_platform
        self._ids = settings.hailo_device_ids
        self.chip: Chip | None = None

    def read(self) -> Iterator[Finding]:
        """Identity, temperature, power. Works beside a worker that uses the card."""
        try:
            control = self._hailo.Device(*self._ids[:1]).control
            board = control.identify()
        except Exception as error:
            yield _failed("identity", error)
            return
        architecture = str(board.device_architecture).rpartition(".")[2].upper().replace("_", "")
        self.chip = CHIPS.get(architecture)
        detail = f"{architecture}, firmware {board.firmware_version}"
        if self.chip is None:
            remedy = "This worker drives Hailo-8 and Hailo-8L: use such a card, or ENGINE=cpu"
            yield Finding(False, "identity", detail, remedy)
        else:
            yield Finding(True, "identity", detail)
        yield from self._temperature(control)
        try:
            yield Finding(True, "power", f"{float(control.power_measurement()):.1f} W")
        except Exception:
            yield Finding(None, "power", "this board does not measure it")

    def open(self) -> Finding:
        """Takes the card as the worker does, and gives it back."""
        try:
            params = self._hailo.VDevice.create_params()
            params.scheduling_algorithm = self._hailo.HailoSchedulingAlgorithm.ROUND_ROBIN
            if self._ids:
                params.device_ids = list(self._ids)
            self._hailo.VDevice(params).release()
        except Exception as error:
            return _failed("opening", error)
        return Finding(True, "opening", "the card can be opened")

    def _temperature(self, control: Any) -> Iterator[Finding]:
        try:
            reading = control.get_chip_temperature()
            degrees = max(float(reading.ts0_temperature), float(reading.ts1_temperature))
        except Exception as error:
            yield Finding(None, "temperature", "cannot be read", explain(status_of(error)))
            return
        remedy = (
            "" if degrees < WARM_C else "Give the card a heat sink or more air: it slows down, then stops by itself"
        )
        yield Finding(
            None if WARM_C <= degrees < HOT_C else degrees < WARM_C, "temperature", f"{degrees:.0f} °C", remedy
        )


def _failed(what: str, error: Exception) -> Finding:
    return Finding(False, what, f"{type(error).__name__}: {error}", explain(status_of(error)))


# --------------------------------------------------------------------- files


def _files(settings: Settings, root: Path, chip: Chip | None) -> Iterator[Finding]:
    """The HEFs that the settings ask for: there, whole, for this chip, and what the catalogue says."""
    store = open_store(settings)
    size = present = missing = 0
    for label, network in _wanted(settings, chip or "hailo8"):
        finding, path = _file(store, label, network, chip)
        if path is None:
            missing += 1
        else:
            present += 1
            size += path.stat().st_size
        yield finding
    if missing:
        remedy = fetch("--engine", "hailo", "--chip", chip or "hailo8")
        detail = f"{missing} files are not there" + ("" if present else ": no task can be served")
        yield Finding(None if present else False, "models", f"{detail} ({store.folder})", remedy)
    if present:
        yield memory_check(size, root)


def _wanted(settings: Settings, chip: Chip) -> Iterator[tuple[str, Network]]:
    names = {file.name: need.label for need in needs(settings, "hailo", chip) for file in need.files}
    for network in NETWORKS:
        file = network.hef.get(chip)
        if file is None or file.name not in names:
            continue
        if network.stage == "textual" and settings.clip_text_engine == "cpu":
            continue
        yield names[file.name], network


def _file(store: Store, label: str, network: Network, chip: Chip | None) -> tuple[Finding, Path | None]:
    file = network.hef[chip or "hailo8"]
    path = store.find(file)
    if path is None:
        return Finding(None, label, f"{file.name} is not there: the task is off"), None
    try:
        fit = check_fit(path, network, chip)
    except ModelError as error:
        return Finding(False, label, str(error)), path
    detail = f"{path.name} fits, for {fit.header.chip}"
    warning = "; ".join(fit.warnings)
    return Finding(None if warning else True, label, detail, warning), path


if __name__ == "__main__":
    sys.exit(main())
