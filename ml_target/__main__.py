"""The command line: `serve` (the default), `predict`, `models`."""

import argparse
import logging
import signal
import sys

from ml_target import __version__
from ml_target.config import Settings
from ml_target.diagnostics.settings import spelt_wrong
from ml_target.errors import WorkerError
from ml_target.log.terminal import replace_unprintable
from ml_target.requestlog import set_up

log = logging.getLogger(__name__)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the process's exit status."""
    replace_unprintable()
    parser = argparse.ArgumentParser(prog="python3 -m ml_target", description="A machine-learning worker for Immich.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve Immich (the default)")
    predict_parser = commands.add_parser("predict", help="answer for one photo or query on the terminal")
    models_parser = commands.add_parser("models", help="list, fetch and verify the model files")

    from ml_target import predict
    from ml_target.store import command as models

    predict.add_arguments(predict_parser)
    models.add_arguments(models_parser)
    chosen = parser.parse_args(arguments)
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
        from ml_target.serve import serve

        return serve(settings)
    except WorkerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
