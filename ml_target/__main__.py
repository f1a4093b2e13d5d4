"""The command line: `serve` (the default), `predict`, `models`, `report`."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence

from ml_target import __version__
from ml_target.config import Settings
from ml_target.diagnostics.settings import spelt_wrong
from ml_target.errors import WorkerError
from ml_target.log.private import without_logins
from ml_target.log.requests import set_up
from ml_target.log.ring import keep_last_lines
from ml_target.log.terminal import replace_unprintable

log = logging.getLogger(__name__)

PROGRAM = "python3 -m ml_target"
OTHERS = {
    "doctor": "card, driver, HailoRT and model files: what is wrong, and the remedy",
    "selfcheck": "are the card's answers those of the processor?",
    "inspect_models": "the catalogue of model files against what is there",
    "hef_inspect": "what a HEF holds, and which network it is",
    "healthcheck": "asks the worker that runs here whether it is ready",
}
"""Commands of their own, `python3 -m ml_target.NAME`."""

DESCRIPTION = "A machine-learning worker for Immich: smart search, faces and text in photos."
EPILOG = "\n".join(
    [
        f"Each has its own help, such as `{PROGRAM} serve --help`. Beside them there are:",
        *(f"  {PROGRAM}.{name:15}  {words}" for name, words in OTHERS.items()),
    ]
)
SERVE = """Serves Immich over HTTP until it is told to stop (Ctrl-C, SIGTERM): the command when none is named.

In Immich, under Administration > Settings > Machine Learning Settings, the URL is then http://HOST:3003. The worker
tells at its start which tasks are on and which are off, and why; GET /status tells it at any time.
It takes no options. Settings come from environment variables, and a bad value stops it with words."""
SERVE_EXAMPLES = """examples:
  python3 -m ml_target
  CLIP_BACKEND=siglip IMMICH_PORT=3004 python3 -m ml_target serve
  docker run ... -e CLIP_BACKEND=siglip immich-ml-hailo:v4.23.0

Exit code: 0 it was told to stop, 1 it could not start, which the last line of its log explains."""

MODELS = """The model files that the settings ask for. What to do:
  list      every file of the catalogue: is it there, and is it whole (when nothing is named)
  fetch     get what is missing, or the files named
  missing   what fetch would get; nothing where all is there
  verify    read every file again and hold it against its checksum
  pin       record the checksum of every file that has none published; a build of the image does it

Exit code: 0 all is well, 1 something is missing or damaged (fetch, verify, pin), 2 an argument is wrong,
130 stopped by Ctrl-C or SIGTERM (fetch)."""

REPORT = "write one file for a bug report, personal details left out"


class Parsers:
    """The parser of the whole line and those of its commands, which say what there is when something is wrong."""

    def __init__(self) -> None:
        from ml_target.diagnostics import predict
        from ml_target.diagnostics.report import command as report
        from ml_target.store import command as models

        plain = argparse.RawDescriptionHelpFormatter
        self.whole = argparse.ArgumentParser(
            prog=PROGRAM, description=DESCRIPTION, epilog=EPILOG, formatter_class=plain, allow_abbrev=False
        )
        self.whole.add_argument("--version", action="version", version=__version__)
        commands = self.whole.add_subparsers(dest="command", title="commands", metavar="COMMAND")
        self.serve = commands.add_parser(
            "serve", help="serve Immich (the default)", description=SERVE, formatter_class=plain, allow_abbrev=False
        )
        self.predict = commands.add_parser(
            "predict", help="answer for one photo or query on the terminal", allow_abbrev=False
        )
        predict.add_arguments(self.predict)
        self.models = commands.add_parser(
            "models",
            help="list, fetch and verify the model files",
            description=MODELS,
            formatter_class=plain,
            allow_abbrev=False,
        )
        models.add_arguments(self.models)
        self.report = commands.add_parser("report", help=REPORT, allow_abbrev=False)
        report.add_arguments(self.report)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Ends with exit code 2 and what there is to choose from where the line cannot be read."""
        if arguments and arguments[0] in OTHERS:
            self.whole.error(f"{arguments[0]} is a command of its own: {PROGRAM}.{arguments[0]}")
        if arguments and arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version"):
            self._refuse(None, list(arguments))
        if arguments[:1] == ["serve"] and {"-h", "--help"} & set(arguments):  # reading the settings takes a moment
            from ml_target.diagnostics.variables import variables_text

            self.serve.epilog = f"settings:\n{variables_text()}\n\n{SERVE_EXAMPLES}"
        chosen, unknown = self.whole.parse_known_args(arguments)
        if unknown:
            self._refuse(chosen.command, unknown)
        return chosen

    def _refuse(self, command: str | None, unknown: list[str]) -> None:
        """argparse's own words would name the commands, not the options of the one that was chosen."""
        parser: argparse.ArgumentParser = getattr(self, command) if command else self.whole
        if command in (None, "serve"):
            known = "the worker takes no options; its settings are environment variables"
        else:
            known = "there are " + ", ".join(option for option in _options(parser))
        parser.error(f"unknown: {' '.join(unknown)}; {known}. `{parser.prog} --help` explains them")


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return [action.option_strings[-1] for action in parser._actions if action.option_strings]


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the process's exit status."""
    replace_unprintable()
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["report"]:
        return _report(given[1:])
    parsers = Parsers()
    chosen = parsers.parse(given)
    from ml_target.diagnostics import predict
    from ml_target.store import command as models

    if chosen.command == "predict":
        predict.check_arguments(parsers.predict, chosen)
    try:
        settings = Settings.from_environment()
        set_up(settings.log_level)
        for hint in spelt_wrong():
            log.warning("%s", hint)
        if chosen.command == "predict":
            set_up(max(settings.log_level, logging.WARNING))  # the answer is what the terminal is for
            return predict.run(chosen, settings)
        if chosen.command == "models":
            return models.run(chosen, settings)
        # The first process of a container is deaf to signals that it has no handler for; the imports take a second.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        from ml_target.api.serve import serve

        keep_last_lines(settings.port)
        return serve(settings)
    except WorkerError as error:
        print(f"error: {without_logins(str(error))}", file=sys.stderr)
        return 1


def _report(arguments: list[str]) -> int:
    """By itself: it has to work where a package that the other commands need is missing or broken."""
    from ml_target.diagnostics.report import command as report

    # As Ctrl-C: what runs for it is ended, and what is there is written.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} report", allow_abbrev=False)
    report.add_arguments(parser)
    return report.run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
