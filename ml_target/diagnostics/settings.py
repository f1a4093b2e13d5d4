"""`python3 -m ml_target.diagnostics.settings [--chip CHIP] [NAME…]`: are the settings valid, is one misspelt?

It needs only Python itself, so that setup.sh can run it before it fetches any package.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from textwrap import wrap
from typing import Any, get_args

from ml_target.catalogue.types import Chip
from ml_target.config import PROJECT, RENAMED, Settings, setting_names, setting_text
from ml_target.diagnostics.hints import hints
from ml_target.errors import SettingsError
from ml_target.log.terminal import replace_unprintable

WIDTH, INDENT = 100, 6
NO_VALUE = "?"
"""A value that no setting with a list or a range accepts: the error then names what it accepts."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The valid settings. `problems`: errors of the others; `usable`: the environment without those."""

    settings: Settings
    problems: tuple[SettingsError, ...]
    usable: Mapping[str, str]

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Environment":
        """Never raises: every setting is read separately, and a bad one is left out, so that it hides no other."""
        usable, problems = dict(environment), []
        for name in (*RENAMED, *(name for item in fields(Settings) for name in setting_names(item.name))):
            if name in usable and (problem := _problem({name: usable[name]})):
                problems.append(problem)
                del usable[name]
        try:
            return cls(Settings.from_environment(usable), tuple(problems), usable)
        except SettingsError as error:  # settings that contradict each other
            return cls(Settings(), (*problems, error), usable)


def _problem(alone: Mapping[str, str]) -> SettingsError | None:
    try:
        Settings.from_environment(alone)
    except SettingsError as error:
        return error
    return None


def reference() -> str:
    """For the help of `serve`: for each setting its variable and default, then what it is for and what it accepts."""
    lines = []
    for item in fields(Settings):
        names = " or ".join(setting_names(item.name))
        lines.append(f"  {names} (default: {_default(item.name)})")
        lines += (f"{'':{INDENT}}{line}" for line in wrap(_meaning(item), WIDTH - INDENT, break_on_hyphens=False))
    return "\n".join(lines)


def _default(attribute: str) -> str:
    value = getattr(Settings(), attribute)
    if isinstance(value, Path) and value.is_relative_to(PROJECT):
        return f"{value.relative_to(PROJECT)}/ in this project's folder"
    return setting_text(Settings(), attribute) or "none"


def _meaning(item: "Field[Any]") -> str:
    words = f"{item.metadata['help']}"
    if item.name == "log_level":  # its help is the list, and it accepts anything, with a warning
        return f"how much is logged: {words}"
    try:
        item.metadata["parse"](NO_VALUE)
    except ValueError as error:
        return f"{words}; {error}"
    return words


def main(arguments: list[str] | None = None) -> int:
    """Prints hints and what is wrong with the settings in the environment. Exit code 1 when something is wrong."""
    replace_unprintable()
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="variables to look at, instead of the environment's")
    parser.add_argument("--chip", metavar="CHIP", default="", help="also check that there is such a chip")
    asked = parser.parse_args(arguments)
    said, right = look_over(asked.names or [name for name, value in os.environ.items() if value.strip()], asked.chip)
    for line in said:
        print(line, file=sys.stdout if right or line != said[-1] else sys.stderr)
    return 0 if right else 1


def look_over(
    names: Iterable[str], chip: str = "", environment: Mapping[str, str] = os.environ
) -> tuple[list[str], bool]:
    """What there is to say of the settings, and whether they are right: where not, the last line is the error.

    `names`: variables to give hints about; `chip`: a card's chip that was named, "" for none.
    """
    said = [f"NOTE: {hint}" for hint in hints(names)]
    if chip and chip not in get_args(Chip):
        return [*said, f"--chip takes one of: {' '.join(get_args(Chip))}; not '{chip}'."], False
    try:
        Settings.from_environment(environment)
    except SettingsError as error:
        return [*said, str(error)], False
    return said, True


if __name__ == "__main__":
    sys.exit(main())
