"""`python3 -m ml_target selfcheck`: are the card's answers the same as the processor's with the same networks?

Bundled pictures and queries go through the serving engine and through ONNX Runtime; the differences are compared with
the bounds in `checks/bounds.py`. If the processor serves, only its own answers are checked.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Collection
from pathlib import Path

from ml_target.config import Settings
from ml_target.diagnostics.checks.header import header
from ml_target.diagnostics.checks.output import as_json, as_text
from ml_target.diagnostics.checks.register import checks_of
from ml_target.diagnostics.checks.report import Report, UsedFile, content_of
from ml_target.diagnostics.checks.result import Check, NotChecked
from ml_target.diagnostics.checks.samples import Samples
from ml_target.diagnostics.checks.sides import Bench
from ml_target.diagnostics.progress import CHECKING, tell
from ml_target.errors import SettingsError, WorkerError
from ml_target.imaging.picture import decode
from ml_target.log.requests import set_up
from ml_target.log.terminal import printable_json
from ml_target.tasks.register import TASKS
from ml_target.tensors import UInt8

DESCRIPTION = """Compares the card's answers with the processor's, on bundled pictures and queries.
Verdicts: right; near (it works, less well than it should); WRONG; not checked, with the reason and the remedy.
Exit code: 0 right or near, 1 something is WRONG, 2 a setting or an argument, 3 nothing could be checked."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `run` reads."""
    parser.description = DESCRIPTION
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTO", help="pictures of your own to compare as well")
    parser.add_argument("--task", action="append", choices=_names(), help="only this one (may be repeated)")
    parser.add_argument("--json", action="store_true", help="the report for programs")


def run(arguments: argparse.Namespace) -> int:
    """Prints the report; returns the exit code as in `DESCRIPTION`."""
    try:
        settings = Settings.from_environment()
        set_up(max(settings.log_level, logging.WARNING))  # the report is what the terminal is for
        samples = Samples.load({f"{n} {file.name}": _read(file, settings) for n, file in enumerate(arguments.photos)})
    except WorkerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return asyncio.run(_run(settings, samples, arguments.task or (), arguments.json))


def _read(photo: Path, settings: Settings) -> UInt8:
    try:
        return decode(photo.read_bytes(), settings.max_pixels)
    except OSError as error:
        raise SettingsError(f"{photo} cannot be read ({error.strerror})", "Name a picture file.") from error


async def _run(settings: Settings, samples: Samples, tasks: Collection[str], machine_readable: bool) -> int:
    bench = Bench(settings)
    try:
        report = await examine(bench, samples, tasks)
        content = content_of(report)
        # Before anything is closed: if releasing the card hangs, the report must be out already.
        print(printable_json(as_json(content)) if machine_readable else as_text(content), flush=True)
        return report.exit_code
    finally:
        bench.close()


async def examine(bench: Bench, samples: Samples, tasks: Collection[str] = ()) -> Report:
    """Runs every check for these settings, or only those of `tasks` (by the names that commands use)."""
    checks: list[Check] = []
    try:
        tell(CHECKING, "opening the engine")
        loader = await bench.open()
    except NotChecked as missing:
        checks.append(Check("engine", gap=missing.gap))
    else:
        for task in TASKS:
            if task.short in (tasks or _names()):
                for what, work in checks_of(task, bench, loader, samples):
                    tell(CHECKING, what)
                    checks += await work.run()
    files = [UsedFile(origin.file, origin.engine, origin.sha256, origin.note) for origin in bench.used.values()]
    return Report(header(bench), checks, files, bench.compares)


def _names() -> list[str]:
    return [task.short for task in TASKS]
