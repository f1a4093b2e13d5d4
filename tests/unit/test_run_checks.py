"""scripts/run_checks.py with commands of the test's own: their words, what failed, which tests each call runs."""

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from project import PROJECT

NAMES = ["ruff check", "ruff format", "mypy", "shellcheck", "hadolint"]
SPREAD = r"-m pytest -n [2-4] --dist loadfile --no-loadscope-reorder"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_checks", PROJECT / "scripts" / "run_checks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ran(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What pytest is asked; the checks find nothing wrong."""
    asked: list[str] = []

    def run(command: list[str], cwd: Path) -> SimpleNamespace:
        assert cwd == PROJECT
        asked.append(" ".join(command[1:]))
        return SimpleNamespace(returncode=int("fail" in command))

    monkeypatch.setattr(script, "run_checks", lambda commands: [])
    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_they_run_beside_each_other_and_each_ones_words_stand_together(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = f'until [ -e "{tmp_path}/second" ]; do sleep 0.01; done; echo one; echo two >&2'
    commands = {
        "first": ["sh", "-c", waits],
        "second": ["sh", "-c", f'touch "{tmp_path}/second"; echo three; exit 3'],
        "third": [f"{tmp_path}/is not there"],
    }
    assert script.run_checks(commands) == ["second", "third"]
    words = "\n--- first\none\ntwo\n\n--- second\nthree\n\n--- third\n[Errno 2] No such file"
    assert capsys.readouterr().out.startswith(words)


def test_what_is_checked(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once, before pytest's processes begin, all tests are compiled."""
    monkeypatch.setattr(script, "COMPILED", tmp_path / "__pycache__")
    assert list(script.checks()) == [*NAMES, "pytest --collect-only"]
    script.COMPILED.mkdir()
    checks = script.checks()
    assert list(checks) == NAMES
    assert {"Dockerfile.hailo-base", "Dockerfile.immich-ml-hailo"} <= set(checks["hadolint"])
    shell = checks["shellcheck"][1:]
    assert {"setup.sh", ".ci/run", "scripts/models.sh", "tests/test.sh"} <= set(shell)
    assert "scripts/run_checks.py" not in shell


def test_the_fast_set_and_everything(script: ModuleType, ran: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Which tests each of them runs, and what it says at the end; further words are pytest's."""
    assert script.main(["-k", "ocr"]) == 0
    assert re.fullmatch(f"{SPREAD} -m not slow -k ocr", ran[-1])
    out = capsys.readouterr().out
    assert "All checks and the fast tests passed (./setup.sh test)." in out
    assert out.endswith("./setup.sh test --full\n")
    assert script.main(["--full"]) == 0
    assert re.fullmatch(f"{SPREAD} -m slow or not slow", ran[-1])
    assert capsys.readouterr().out.endswith("All checks and tests passed.\n")


def test_what_fails_is_named(
    script: ModuleType, ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script, "run_checks", lambda commands: ["mypy"])
    assert script.main(["fail"]) == 1
    told = capsys.readouterr()
    assert told.err == "\nsetup.sh: failed: mypy, pytest\n    Their output is above.\n"
    assert "passed" not in told.out
    assert script.main([]) == 1
    assert "failed: mypy\n" in capsys.readouterr().err
