"""How the report's parts are run: guarded, within their time, in processes of their own."""

import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from worker_process import environment

from ml_target.diagnostics.checks import output
from ml_target.diagnostics.checks.bounds import least
from ml_target.diagnostics.checks.report import Report, UsedFile, content_of
from ml_target.diagnostics.checks.result import Check, Figure
from ml_target.diagnostics.findings import as_json
from ml_target.diagnostics.report import process
from ml_target.diagnostics.report import runs as report_runs
from ml_target.diagnostics.report.process import run_module, stop_running
from ml_target.diagnostics.report.runs import Runs
from ml_target.diagnostics.report.section import Section, guarded
from ml_target.diagnostics.report.times import Times
from ml_target.system.finding import Finding

FOUND = [Finding(True, "a", ""), Finding(False, "driver", "is old", "update it")]

BAD_SETTING = "import sys\nprint('error: bad', file=sys.stderr)\nprint('checking: nothing', file=sys.stderr)\nexit(2)"
CRASHED = "ended by SIGABRT: it crashed, or memory ran out"
FAILED = Times("scrfd", "hailo", failed="no card")


def checked(value: float) -> str:
    """What `selfcheck --json` prints of one figure, 0.9 of which is wanted."""
    check = Check("clip.visual", ("x.hef",), (Figure("x", value, least("cosine", 0.9, 0.8)),))
    return output.as_json(content_of(Report({"worker": "x"}, [check], [UsedFile("x.hef", "hailo", "ab")], True)))


def test_the_selfchecks_report_is_the_text_that_people_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = module(tmp_path, f"print({checked(0.85)!r})")
    monkeypatch.setattr(report_runs, "run_module", lambda _, *rest: run_module("victim", *rest))
    lines = Runs(variables, print).selfcheck().text.splitlines()
    assert lines[:2] == ["worker  x", "files   ab  hailo  x.hef"]
    assert " ".join(lines[3].split()) == "near clip.visual cosine 0.85 (at least 0.9 is wanted)"
    assert "near: 1 near" in lines


def test_a_section_that_fails_or_hangs_says_so() -> None:
    def fails() -> Section:
        raise ZeroDivisionError("by nothing")

    told = guarded("X", fails, 5)
    assert told.wrong == ["X: failed (ZeroDivisionError: by nothing)"]
    assert guarded("X", lambda: sys.exit(3), 5).wrong == ["X: failed (SystemExit: 3)"]
    waiting = threading.Event()

    def hangs() -> Section:
        waiting.wait(60)
        return Section("X")

    started = time.monotonic()
    assert guarded("X", hangs, 0.2).wrong == ["X: no answer within 0.2 s"]
    assert time.monotonic() - started < 20
    waiting.set()


def module(folder: Path, text: str) -> dict[str, str]:
    """The environment in which a module named `victim` holds this."""
    (folder / "victim.py").write_text(text)
    return environment(PYTHONPATH=str(folder))


def test_a_process_tells_its_progress_and_what_it_printed(tmp_path: Path) -> None:
    text = (
        "import sys\nprint('checking: a', file=sys.stderr)\nprint('noise', file=sys.stderr)\nprint('out')\nsys.exit(3)"
    )
    told: list[str] = []
    outcome = run_module("victim", [], module(tmp_path, text), 60, told.append, "checking:")
    assert (outcome.code, outcome.out, outcome.err, outcome.ended) == (3, "out", "noise", "")
    assert told == ["checking: a"]


def test_a_process_that_hangs_is_ended_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_S", 1.0)
    text = """
import signal, time
print("begun", flush=True)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def stuck():
    time.sleep(600)
stuck()
"""
    started = time.monotonic()
    outcome = run_module("victim", [], module(tmp_path, text), 3, print)
    assert time.monotonic() - started < 30
    assert (outcome.code, outcome.out) == (None, "begun")
    assert "in stuck" in outcome.err
    assert outcome.ended.startswith("stopped after ")


def test_a_process_that_crashes_is_told(tmp_path: Path) -> None:
    outcome = run_module(
        "victim", [], module(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"), 60, print
    )
    assert outcome.ended == "ended by SIGSEGV: it crashed, or memory ran out"
    assert not list(tmp_path.glob("core*"))


def test_a_process_that_floods_is_cut(tmp_path: Path) -> None:
    outcome = run_module("victim", [], module(tmp_path, "print('x' * 3_000_000)\nprint('the end')"), 60, print)
    assert len(outcome.out) <= process.OUTPUT
    assert outcome.out.endswith("the end")


def test_ctrl_c_ends_what_runs(tmp_path: Path) -> None:
    variables = module(tmp_path, "import time\ntime.sleep(600)")
    found: list[Any] = []
    waiting = threading.Thread(target=lambda: found.append(run_module("victim", [], variables, 600, print)))
    waiting.start()
    deadline = time.monotonic() + 30
    while not process._running and time.monotonic() < deadline:
        time.sleep(0.01)
    stop_running()
    waiting.join(30)
    assert found[0].code is not None
    assert found[0].code < 0


@pytest.mark.parametrize(
    ("name", "text", "wrong", "right"),
    [
        (
            "doctor",
            f"print('noise of a library\\n', {as_json(FOUND)!r}, sep='')\nexit(1)",
            ["doctor: driver is old -> update it"],
            [],
        ),
        ("doctor", f"print({as_json(FOUND[:1])!r})", [], ["doctor: nothing is wrong"]),
        ("doctor", "raise ImportError('x.so.4')", ["doctor: exit code 1: ImportError: x.so.4"], []),
        ("selfcheck", f"print('noise\\n', {checked(1.0)!r}, '\\nmore', sep='')", [], ["selfcheck: right: 1 right"]),
        ("selfcheck", f"print({checked(0.1)!r})\nexit(1)", ["selfcheck: WRONG: 1 WRONG"], []),
        ("selfcheck", BAD_SETTING, ["selfcheck: exit code 2: error: bad"], []),
        ("selfcheck", "print('the end is missing')\nimport os\nos.abort()", [f"Selfcheck: {CRASHED}"], []),
        ("times", f"print({FAILED.line()!r})\nexit(1)", ["times: scrfd hailo FAILED: no card"], []),
    ],
)  # fmt: skip
def test_what_the_runs_come_to(
    name: str, text: str, wrong: list[str], right: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def instead(_: str, *rest: Any) -> Any:
        return run_module("victim", *rest)

    monkeypatch.setattr(report_runs, "run_module", instead)
    section = getattr(Runs(module(tmp_path, text), print), name)()
    assert (section.wrong, section.right) == (wrong, right)
