"""The doctor: the card, its driver, HailoRT and the model files: what is wrong and the remedy."""

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from ml_target.catalogue.needs import needs
from ml_target.catalogue.networks import NETWORKS
from ml_target.catalogue.types import Chip, Network
from ml_target.config import Settings
from ml_target.diagnostics.card import CardReport, library
from ml_target.diagnostics.findings import as_text, is_wrong
from ml_target.diagnostics.memory import memory_check
from ml_target.engines.hailo_checks import host_checks
from ml_target.errors import ModelError, SettingsError
from ml_target.hailo_host import Finding, cards, nodes
from ml_target.hailo_package import PYTHON
from ml_target.hef_fit import check_fit
from ml_target.remedies import fetch
from ml_target.store import Store
from ml_target.store.command import open_store

SEAT = "Seat the card and look at lspci -d 1e60:; or ENGINE=cpu"


def checks(
    root: Path = Path("/"), environment: Mapping[str, str] = os.environ, settings: Settings | None = None
) -> list[Finding]:
    """Everything that can be told before the device is opened. Never raises.

    One finding, neither right nor wrong, when there is no card at all.
    """
    settings = settings or Settings()
    host = host_checks(root, environment, ids=settings.hailo_device_ids, count=settings.hailo_device_count)
    if not host:
        return [Finding(None, "card", "this machine has no Hailo card")]
    return [*host, *library(root)]


def main(arguments: list[str] | None = None, root: Path = Path("/")) -> int:
    """Prints what was found and the remedies. Exit code 1 when something is wrong, 2 for a bad setting."""
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
    wrong = sum(finding.ok is False for finding in found)
    print(as_text(found))
    print(f"\n{wrong} wrong" if wrong else "\nnothing is wrong")
    return 1 if wrong else 0


def _examine(settings: Settings, root: Path, open_device: bool) -> Iterator[Finding]:
    if not cards(root) and not nodes(root):
        wanted = settings.engine == "hailo"
        remedy = SEAT if wanted else ""
        outcome = "ENGINE=hailo cannot be" if wanted else "the CPU engine is used"
        yield Finding(False if wanted else None, "card", f"this machine has no Hailo card; {outcome}", remedy)
        return
    if settings.engine == "cpu":
        yield Finding(None, "ENGINE", "cpu: the card is left alone")
    before = checks(root, settings=settings)
    yield from before
    chip: Chip | None = None
    if not is_wrong(before, "HailoRT", "device node"):
        card = CardReport(settings, root)
        yield from card.read()
        if open_device:
            yield card.open()
        chip = card.chip
    if settings.engine != "cpu":
        yield from _files(settings, root, chip)


def _tell_chip(settings: Settings, root: Path) -> int:
    """Prints the chip alone, for scripts; where the card does not say it, what is wrong goes to standard error."""
    found = checks(root, settings=settings)
    if any(finding.what == "HailoRT" and finding.ok for finding in found):
        card = CardReport(settings, root)
        found += card.read()
        if card.chip:
            print(card.chip)
            return 0
    wrong = [finding for finding in found if finding.ok is False]
    print(as_text(wrong or [Finding(False, "card", found[0].detail, SEAT)]), file=sys.stderr)
    return 1


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
