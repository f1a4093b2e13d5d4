"""The settings as a diagnostic looks at them: each by itself, so that one bad value hides nothing else."""

from collections.abc import Mapping
from dataclasses import fields

from ml_target.config import Settings, setting_names, setting_text
from ml_target.diagnostics.settings import spelt_wrong
from ml_target.errors import SettingsError
from ml_target.hailo_host import Finding

SECRET = ("models_mirror", "hf_endpoint")
"""An address may hold a password."""


def read_settings(environment: Mapping[str, str]) -> tuple[Settings, list[Finding]]:
    """The settings, a bad one at its default, and what was found: a line for each that is bad, one for the rest."""
    good, found = dict(environment), []
    for item in fields(Settings):
        mine = {name: environment[name] for name in setting_names(item.name) if name in environment}
        try:
            Settings.from_environment(mine)
        except SettingsError as error:
            found.append(Finding(False, "setting", str(error).rstrip("."), "Until then the worker does not start"))
            for name in mine:
                del good[name]
    found += (Finding(None, "setting", hint.rstrip(".")) for hint in spelt_wrong(environment))
    settings = Settings.from_environment(good)
    found.append(Finding(True, "settings", " ".join(_told(settings)) or "all at their defaults"))
    return settings, found


def _told(settings: Settings) -> list[str]:
    """NAME=VALUE of what is not the default."""
    told = []
    for item in fields(settings):
        text = setting_text(settings, item.name)
        if text != setting_text(Settings(), item.name):
            told.append(f"{setting_names(item.name)[0]}={'(set)' if item.name in SECRET else text}")
    return told
