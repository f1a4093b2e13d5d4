"""The doctor: checks host, card, HailoRT, settings and model files, and gives the remedies."""

import argparse
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

from ml_target.catalogue.types import EITHER_CHIP, Chip
from ml_target.config import Settings, choose_engine, setting_names, setting_text
from ml_target.diagnostics.card import CardReport, library
from ml_target.diagnostics.findings import as_json, as_text, is_barred, is_wrong, verdict
from ml_target.diagnostics.hints import environment_hints
from ml_target.diagnostics.settings import Environment
from ml_target.diagnostics.tasks import task_findings
from ml_target.engines.hailo.checks import host_checks
from ml_target.engines.hailo.kernel_log import DMESG, kernel_words
from ml_target.engines.hailo.package import PYTHON
from ml_target.engines.select import REFERENCE, passed_over
from ml_target.log.terminal import printable_json
from ml_target.system.cards import cards, nodes
from ml_target.system.finding import Finding

NOTHING_WRONG, WRONG, BAD_SETTING = 0, 1, 2
SEAT = "Seat the card and look at lspci -d 1e60:; or ENGINE=cpu"
STATUS = """exit status: 0 nothing wrong was found, 1 something is wrong or a task is off, 2 a setting is bad
(or an argument). No file is fetched, and nothing is changed but checksums.json, where checksums are recorded as at a
start."""
SECRET = ("models_mirror", "hf_endpoint")
"""An address may hold a password."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `run` reads."""
    parser.description, parser.epilog = run.__doc__, STATUS
    parser.add_argument("--open", action="store_true", help="also open the card, which fails while a worker holds it")
    parser.add_argument("--chip", action="store_true", help=f"only ask the card what it is: {EITHER_CHIP}")
    parser.add_argument("--json", action="store_true", help="the findings for programs")


def run(arguments: argparse.Namespace, root: Path = Path("/")) -> int:
    """Checks the system, the settings, the card and its driver, and the model files of each task."""
    settings, about_settings = read_settings(os.environ)
    if arguments.chip:
        if is_wrong(about_settings):
            print(as_text(finding for finding in about_settings if finding.ok is False), file=sys.stderr)
            return BAD_SETTING
        return _print_chip(settings, root)
    found = [Finding(True, "system", f"{platform.system()} {platform.release()}, {platform.machine()}, {PYTHON}")]
    found += about_settings
    found += examine(settings, root, arguments.open)
    print(printable_json(as_json(found)) if arguments.json else f"{as_text(found)}\n\n{verdict(found)}")
    if is_wrong(about_settings):
        return BAD_SETTING
    return WRONG if is_wrong(found) else NOTHING_WRONG


def read_settings(environment: Mapping[str, str]) -> tuple[Settings, list[Finding]]:
    """The settings, with bad ones at their defaults, and the findings: so one bad value hides nothing else."""
    read = Environment.read(environment)
    found = [
        Finding(False, "setting", bad.reason, f"{bad.remedy} Until then the worker does not start")
        for bad in read.problems
    ]
    found += (Finding(None, "setting", hint) for hint in environment_hints(environment))
    found.append(Finding(True, "settings", " ".join(_non_defaults(read.settings)) or "all at their defaults"))
    return read.settings, found


def _non_defaults(settings: Settings) -> Iterator[str]:
    """NAME=VALUE for each setting that is not at its default."""
    for item in fields(settings):
        text = setting_text(settings, item.name)
        if text != setting_text(Settings(), item.name):
            yield f"{setting_names(item.name)[0]}={'(set)' if item.name in SECRET else text}"


def examine(settings: Settings, root: Path = Path("/"), open_device: bool = False) -> Iterator[Finding]:
    """All findings but those about system and settings, in the order of the report. Never raises."""
    engine = choose_engine(settings.engine, root)
    report = CardReport(settings, root)
    if engine == REFERENCE:
        yield from _unused_card(settings, root)
    else:
        yield from _card(settings, root, open_device, report)
    yield from task_findings(settings, engine, report.chip, root, report.library)


def checks(
    root: Path = Path("/"), environment: Mapping[str, str] = os.environ, settings: Settings | None = None
) -> list[Finding]:
    """What can be checked of host, card and library without opening the device; empty if there is no card."""
    settings = settings or Settings()
    host = host_checks(root, environment, ids=settings.hailo_device_ids, count=settings.hailo_device_count)
    return [*host, *library(root, settings.hailort_dir)] if host else []


def _card(settings: Settings, root: Path, open_device: bool, report: CardReport) -> Iterator[Finding]:
    """The card that runs the networks."""
    before = checks(root, settings=settings)
    if not before:
        yield Finding(False, "card", "this machine has no Hailo card, so ENGINE=hailo cannot work", SEAT)
        return
    yield from before
    if is_barred(before):
        yield Finding(None, "identity", "the card is not asked while that is wrong", looked=False)
    else:
        yield from report.read()
        if open_device:
            yield report.open()
    words = kernel_words(root)
    if words is None:
        yield Finding(None, "kernel log", "this user cannot read it", f"On the host: {DMESG}", looked=False)
    else:
        yield from words or [Finding(True, "kernel log", "no trouble with the card since its driver was loaded")]


def _unused_card(settings: Settings, root: Path) -> Iterator[Finding]:
    """The processor runs the networks: is that intended?"""
    if not cards(root) and not nodes(root):
        yield Finding(True, "card", "this machine has none; the processor runs the networks")
    elif settings.engine == "cpu":
        yield Finding(None, "card", "it is left alone (ENGINE=cpu)", looked=False)
    else:
        if found := passed_over(settings, root):
            yield found
        yield from (replace(each, ok=each.ok or None) for each in host_checks(root))


def _print_chip(settings: Settings, root: Path) -> int:
    """Prints only the chip, for scripts; if it cannot be identified, what is wrong goes to standard error."""
    found = checks(root, settings=settings)
    chip: Chip | None = None
    if found and not is_barred(found):
        report = CardReport(settings, root)
        found += report.read()
        chip = report.chip
    if chip:
        print(chip)
        return NOTHING_WRONG
    wrong = [finding for finding in found if finding.ok is False]
    print(as_text(wrong or [Finding(False, "card", "this machine has no Hailo card", SEAT)]), file=sys.stderr)
    return WRONG
