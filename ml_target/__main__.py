"""The command line: `python3 -m ml_target COMMAND`, or `ml-target COMMAND` where the package is installed."""

import argparse
import logging
import os
import signal
import sys
from importlib import import_module
from typing import Literal, NamedTuple, NoReturn

from ml_target import __version__
from ml_target.config import Settings, choose_engine
from ml_target.diagnostics.hints import environment_hints
from ml_target.diagnostics.library import question
from ml_target.diagnostics.settings import reference
from ml_target.errors import WorkerError
from ml_target.log.private import without_logins
from ml_target.log.requests import set_up
from ml_target.log.terminal import replace_unprintable
from ml_target.remedies import command

log = logging.getLogger("ml_target.start")  # run as a module, it would be called __main__

STOPPED = 130
"""As shells have it for Ctrl-C."""

HELP = ("-h", "--help", "--version")
DESCRIPTION = "A machine-learning worker for Immich: smart search, faces and text in photos."


class Command(NamedTuple):
    """`module` has `add_arguments(parser)` and `run(arguments)`, or `run(arguments, settings)` where `settings`.

    It is imported only when it is run: `report` has to work where a package that others need is missing or broken.
    `quiet`: the terminal shows the answer, so nothing below a warning is logged.
    """

    module: str
    help: str
    settings: bool = False
    quiet: bool = False


COMMANDS = {
    "serve": Command("ml_target.api.serve", "serve Immich (the default)", settings=True),
    "predict": Command(
        "ml_target.diagnostics.predict", "answer for one photo or query on the terminal", settings=True, quiet=True
    ),
    "models": Command("ml_target.store.command", "list, fetch and verify the model files", settings=True),
    "hailort": Command("ml_target.hailort.command", "list HailoRT's packages, or fetch the driver's", settings=True),
    "doctor": Command(
        "ml_target.diagnostics.doctor", "card, driver, HailoRT, settings, model files: what is wrong, and the remedy"
    ),
    "selfcheck": Command("ml_target.diagnostics.selfcheck", "are the card's answers those of the processor?"),
    "compare": Command(
        "ml_target.diagnostics.compare.command",
        "do this worker and another one answer alike, and what must run again in Immich?",
        settings=True,
        quiet=True,
    ),
    "calibrate": Command(
        "ml_target.diagnostics.calibrate.command",
        "write faces of your own photos as Hailo's compiler wants them",
        settings=True,
        quiet=True,
    ),
    "inspect": Command("ml_target.diagnostics.inspect", "what a HEF holds, and which network it is"),
    "report": Command(
        "ml_target.diagnostics.report.command", "write one file for a bug report, personal details left out"
    ),
    "healthcheck": Command("ml_target.api.health", "ask the worker that runs here whether it is ready"),
}


class Parser(argparse.ArgumentParser):
    """Its errors list the valid options and point to the help."""

    def __init__(self, *words: str) -> None:
        plain = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=command(*words), formatter_class=plain, allow_abbrev=False)

    def parse(self, arguments: list[str]) -> argparse.Namespace:
        """Exits with code 2 if the arguments are wrong."""
        chosen, unknown = self.parse_known_args(arguments)
        if unknown:
            options = [action.option_strings[-1] for action in self._actions if action.option_strings]
            known = "there are " + ", ".join(options)
            if options == ["--help"]:
                known = "it takes no options; settings are environment variables"
            self.error(f"unknown: {' '.join(unknown)}; {known}")
        return chosen

    def error(self, message: str) -> NoReturn:
        super().error(f"{message}. `{self.prog} --help` explains it")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the process's exit status."""
    replace_unprintable()
    name, rest = _split(sys.argv[1:] if arguments is None else arguments)
    chosen, parser = COMMANDS[name], Parser(name)
    if name == "serve":
        # The first process of a container ignores signals that it has no handler for; the imports take a second.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        parser.epilog = f"settings:\n{reference()}"
    try:
        module = import_module(chosen.module)
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("ml_target"):
            raise
        print(f"error: {_lacking(error.name)}", file=sys.stderr)
        return 1
    module.add_arguments(parser)
    parsed = parser.parse(rest)
    try:
        status: int = module.run(parsed, _settings(chosen)) if chosen.settings else module.run(parsed)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return STOPPED
    except WorkerError as error:
        if _form(chosen) == "json":
            set_up(logging.CRITICAL, "json")
            log.critical("%s", error)
        else:
            print(f"error: {without_logins(str(error))}", file=sys.stderr)
        return 1
    return status


def _lacking(package: str) -> str:
    """As a host's own python3 in a checkout, which has none of the packages."""
    return (
        f"{sys.executable} has no package {package}. ./setup.sh serve puts what is needed into .venv: take the Python "
        "in there, .venv/bin/python; or run this inside the image, where all of it is"
    )


def _split(given: list[str]) -> tuple[str, list[str]]:
    """The command and its arguments. Exits with help, or with the list of commands if the first word is not one."""
    first = given[0] if given else "serve"
    if first in COMMANDS:
        return first, given[1:]
    if not first.startswith("-") or first in HELP:
        _explain(first)
    return "serve", given


def _explain(first: str) -> NoReturn:
    parser = Parser()
    parser.usage = "%(prog)s [COMMAND] [ARGUMENT…]"
    parser.description = DESCRIPTION
    commands = "\n".join(f"  {name:12} {each.help}" for name, each in COMMANDS.items())
    parser.epilog = f"commands:\n{commands}\n\nEach has its own help, such as `%(prog)s predict --help`."
    parser.add_argument("--version", action="version", version=__version__)
    if first in HELP:
        parser.parse_args([first])
    parser.error(f"there is no command {first}; there are {', '.join(COMMANDS)}")


def _form(chosen: Command) -> Literal["text", "json"]:
    """Of the log until the settings are read, and where they are bad: what collects a worker's log wants every line."""
    asked = os.environ.get("LOG_FORMAT", "").strip().lower()
    return "json" if chosen is COMMANDS["serve"] and asked == "json" else "text"


def _settings(chosen: Command) -> Settings:
    """Reads the environment, sets up the log and logs hints about misspelt settings. Raises SettingsError."""
    set_up(logging.WARNING, _form(chosen))
    settings = Settings.from_environment()
    serves = chosen is COMMANDS["serve"]
    set_up(settings.log_level, settings.log_format if serves else "text")
    for hint in environment_hints():
        log.warning("%s", hint)
    if serves and (asked := question(os.environ, choose_engine(settings.engine))):
        log.info("%s", asked)
    if chosen.quiet:
        set_up(max(settings.log_level, logging.WARNING))
    return settings


if __name__ == "__main__":
    sys.exit(main())
