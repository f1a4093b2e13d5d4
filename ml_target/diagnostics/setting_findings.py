"""The settings as the doctor tells them: those that are bad, hints, and what is not the default."""

from collections.abc import Mapping
from dataclasses import fields

from ml_target.config import Settings, setting_names, setting_text
from ml_target.diagnostics.report.settings import Environment
from ml_target.diagnostics.settings import spelt_wrong
from ml_target.system.cards import Finding

SECRET = ("models_mirror", "hf_endpoint")
"""An address may hold a password."""


def read_settings(environment: Mapping[str, str]) -> tuple[Settings, list[Finding]]:
    """The settings, a bad one at its default, and what was found: so one bad value hides nothing else."""
    read = Environment.read(environment)
    found = [
        Finding(False, "setting", problem.rstrip("."), "Until then the worker does not start")
        for problem in read.problems
    ]
    found += (Finding(None, "setting", hint.rstrip(".")) for hint in spelt_wrong(environment))
    found.append(Finding(True, "settings", " ".join(_told(read.settings)) or "all at their defaults"))
    return read.settings, found


def _told(settings: Settings) -> list[str]:
    """NAME=VALUE of what is not the default."""
    told = []
    for item in fields(settings):
        text = setting_text(settings, item.name)
        if text != setting_text(Settings(), item.name):
            told.append(f"{setting_names(item.name)[0]}={'(set)' if item.name in SECRET else text}")
    return told
