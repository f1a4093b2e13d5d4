"""`python3 -m ml_target report`: one file for a bug report, personal details left out.

It works even if the worker does not start: every section is guarded separately, and whatever touches the card or loads
a network runs in a process of its own, with a time limit. If a worker is running, it asks that worker instead of
loading everything again: the card serves one program, and a container's memory is sized for one.

Without --output it goes to standard output if that is a file or a pipe, as in `docker exec … report > report.md`, so
that the file ends up on the host and not in the container; on a terminal it writes a file.
"""

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from ml_target.diagnostics.report.card import card, kernel_log
from ml_target.diagnostics.report.host import host, versions
from ml_target.diagnostics.report.log import TITLE as LOG
from ml_target.diagnostics.report.log import log_section
from ml_target.diagnostics.report.markdown import as_markdown, redactor
from ml_target.diagnostics.report.model_files import model_files
from ml_target.diagnostics.report.output import STDOUT, tell, write
from ml_target.diagnostics.report.process import stop_running
from ml_target.diagnostics.report.runs import DOCTOR_S, SELFCHECK_S, TIMES_S, Runs, left_out
from ml_target.diagnostics.report.section import Section, guarded
from ml_target.diagnostics.report.settings import settings_section
from ml_target.diagnostics.report.worker import Answer, ask, request_times, worker_section
from ml_target.diagnostics.settings import Environment
from ml_target.log.ring import kept_logs

LEFT_OUT = "Selfcheck and times of the networks"
QUICK_S, FILES_S, REQUESTS_S = 20.0, 180.0, 120.0
LATER_S = 30.0
"""Extra time for ending a process after its own limit."""

DESCRIPTION = """Writes one file for a bug report: versions, host, card, driver, kernel log, doctor, settings, model
files, selfcheck, a short timing of each network, the last lines of the log. It works when the worker does not start.

Left out are passwords, tokens, addresses, host and user names, home folders, serial numbers; pictures, texts and
vectors are never in it. Look through it all the same before you post it.

Selfcheck and timing need the card for themselves; beside a worker that runs, that worker is asked instead."""
EXAMPLES = """examples:
  %(prog)s
  docker exec immich-ml-hailo python3 -m ml_target report > report.md
  docker logs --tail 300 immich-ml-hailo > log.txt 2>&1
  docker exec -i immich-ml-hailo python3 -m ml_target report --log - < log.txt > report.md

Exit code: 0 the report is written, whatever it says; 1 it could not be written; 2 an argument is wrong."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `run` reads."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="where to write it; - prints it (default: a file here, or where output is sent)",
    )
    parser.add_argument(
        "--log", metavar="FILE", help="the worker's log, - for standard input (default: a running one's)"
    )
    parser.add_argument("--quick", action="store_true", help="without selfcheck and timing: a few seconds")


def run(arguments: argparse.Namespace, root: Path = Path("/")) -> int:
    """Makes the report and writes it. After Ctrl-C it writes what it has so far."""
    if arguments.log not in (None, STDOUT) and not Path(arguments.log).is_file():
        print(f"error: {arguments.log} is not a file. Name the worker's log, or - for standard input.", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    logging.getLogger("ml_target").addHandler(logging.NullHandler())  # the doctor reports its warnings
    made = datetime.now(timezone.utc)
    text = as_markdown(list(_sections(arguments, root)), made, redactor())
    return write(text, arguments.output, f"immich-ml-hailo-report-{made:%Y%m%d-%H%M%S}.md")


# ------------------------------------------------------------------- sections


def _sections(arguments: argparse.Namespace, root: Path) -> Iterator[Section]:
    read = Environment.read()
    runs = Runs({"HAILORT_LOGGER_PATH": "NONE", **read.usable}, tell)
    state = _State(quick=arguments.quick)
    yield state.make("Versions", lambda: versions(root))
    yield state.make("Host", lambda: host(root))
    yield state.make("Card", lambda: card(root))
    yield state.make("Kernel log", lambda: kernel_log(root))
    yield state.make("Settings", lambda: settings_section(read))
    yield state.make("Model files", lambda: model_files(read.settings), FILES_S)
    yield state.make("Doctor", runs.doctor, DOCTOR_S + LATER_S)
    answers: list[Answer] = []

    def asked() -> Section:
        answers.append(ask(read.settings))
        return worker_section(answers[0])

    yield state.make("The worker that runs here", asked)
    answer = answers[0] if answers else Answer("")
    log = state.make(LOG, lambda: log_section(arguments.log, read.settings.port))  # before our own requests are in it
    silent = [] if answer.ours else _silent_workers(read.settings.port)
    if silent:
        words = f"process {silent[0]} is a worker for this port, and does not answer"
        yield Section("A worker that does not answer", words, [words])
    if answer.ours or silent:
        if answer.ready and not state.quick:
            times = "Times of the running worker"
            yield state.make(times, lambda: request_times(read.settings, answer, tell), REQUESTS_S)
        yield guarded(LEFT_OUT, lambda: left_out(LEFT_OUT, f"a worker runs here. {_in_its_place(read)}"), QUICK_S)
    elif state.quick:
        yield left_out(LEFT_OUT, "--quick, or interrupted.")
    else:
        yield state.make("Selfcheck", runs.selfcheck, SELFCHECK_S + LATER_S)
        if state.quick:
            yield left_out("Times of the networks", "interrupted.")
        else:
            yield state.make("Times of the networks", runs.times, TIMES_S + LATER_S)
    yield log


def _silent_workers(port: int) -> list[int]:
    """The processes that have kept a log as workers for this port."""
    return [process for of, process, _ in kept_logs() if of == port and _same_network(process)]


def _same_network(process: int) -> bool:
    """Whether it shares our network namespace: root on the host also sees containers' workers, with their own ports."""
    try:
        return Path(f"/proc/{process}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()
    except OSError:
        return False


def _in_its_place(read: Environment) -> str:
    from ml_target.diagnostics.checks.commands import report_in_its_place  # needs packages that may be missing

    return report_in_its_place(read.settings)


class _State:
    """Makes one section after another. `quick`: requested, or set by Ctrl-C."""

    def __init__(self, quick: bool) -> None:
        self.quick = quick

    def make(self, title: str, make: Callable[[], Section], seconds: float = QUICK_S) -> Section:
        tell(f"{title}{f' (at most {seconds / 60:.0f} minutes)' if seconds > QUICK_S else ''}")
        try:
            return guarded(title, make, seconds)
        except KeyboardInterrupt:
            self.quick = True
            stop_running()
            tell("interrupted; what is there is written")
            return Section(title, "Interrupted.")
