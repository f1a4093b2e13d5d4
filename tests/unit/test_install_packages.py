"""scripts/install_packages.py with a pip that only notes what it is asked: what is installed when, and its remedies."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from project import PROJECT

FIRST = ["--editable .[dev]", "--no-deps -r tests/requirements-nodeps.txt"]


class Environment:
    """A checkout with a virtual environment, and a pip that installs nothing."""

    def __init__(self, script: ModuleType, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.script, self.checkout, self.capsys = script, checkout, capsys
        self.asked: list[str] = []
        self.words = ""

    def pip(self, command: list[str], cwd: Path) -> SimpleNamespace:
        front = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--log"]
        assert command[:6] == front
        assert cwd == self.checkout
        self.asked.append(" ".join(command[7:]))
        Path(command[6]).write_text(f"Collecting numpy\n{self.words}\n")
        return SimpleNamespace(returncode=int(bool(self.words)))

    def install(self, name: str) -> list[str]:
        """What pip was asked for."""
        self.asked.clear()
        self.script.main(name, 500, "serve")
        return self.asked

    def refused(self, name: str = "cpu") -> str:
        with pytest.raises(SystemExit, match="1"):
            self.install(name)
        return self.capsys.readouterr().err


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Environment:
    spec = importlib.util.spec_from_file_location("install_packages", PROJECT / "scripts" / "install_packages.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    checkout = tmp_path / "a checkout"
    (checkout / "tests").mkdir(parents=True)
    for name in ("pyproject.toml", "tests/requirements-nodeps.txt"):
        shutil.copy(PROJECT / name, checkout / name)
    made = Environment(script, checkout, capsys)
    (tmp_path / "venv").mkdir()
    monkeypatch.setattr(script, "PROJECT", checkout)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setattr(subprocess, "run", made.pip)
    return made


def test_installed_once(environment: Environment, capsys: pytest.CaptureFixture[str]) -> None:
    assert environment.install("cpu") == ["--editable .[cpu]"]
    assert "downloading and installing, about 500 MB on disk" in capsys.readouterr().out
    assert environment.install("cpu") == []
    assert capsys.readouterr().out == "    already there\n"


def test_the_larger_set_serves_too(environment: Environment) -> None:
    assert environment.install("dev") == FIRST
    assert environment.install("cpu") == []
    assert environment.install("full")[0] == "--editable .[full]"
    assert environment.install("dev") == []


@pytest.mark.parametrize("file", ["pyproject.toml", "tests/requirements-nodeps.txt"])
def test_a_change_of_the_packages_wanted_installs_again(environment: Environment, file: str) -> None:
    environment.install("dev")
    with (environment.checkout / file).open("a") as wanted:
        wanted.write("\n# changed\n")
    assert environment.install("dev") == FIRST


def test_a_moved_checkout_and_another_python_install_again(
    environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.install("dev")
    monkeypatch.setattr(sys, "version", "3.12.99")
    assert environment.install("dev") == FIRST
    environment.checkout = environment.checkout.rename(environment.checkout.parent / "moved")
    monkeypatch.setattr(environment.script, "PROJECT", environment.checkout)
    assert environment.install("dev") == FIRST


def test_what_was_interrupted_is_finished(environment: Environment) -> None:
    environment.install("cpu")
    environment.words = "whatever"
    environment.refused("dev")
    environment.words = ""
    assert environment.install("cpu") == ["--editable .[cpu]"], "half of the larger set may have gone in"


@pytest.mark.parametrize(
    ("pip_says", "words"),
    [
        ("ERROR: [Errno 28] No space left on device", "no space left on the disk"),
        ("NewConnectionError: Temporary failure in name resolution", "no connection to the package index"),
        ("SSLError CERTIFICATE_VERIFY_FAILED", "certificate is not trusted here"),
        ("ERROR: No matching distribution found for numpy", "pip finds no fitting package for this machine"),
        ("something else", "all of it in "),
    ],
)
def test_what_pip_says_becomes_a_remedy(environment: Environment, pip_says: str, words: str) -> None:
    environment.words = pip_says
    told = environment.refused()
    assert told.startswith("\nsetup.sh: ")
    assert words in told
    assert told.count("\n    ") >= 1, "and what to do"


def test_another_python_is_named_as_it_was_called(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    environment.words = "ResolutionImpossible"
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert " helps: PYTHON=/path/to/python3.12 ./setup.sh serve\n" in environment.refused()
    monkeypatch.setenv("SUDO_USER", "anna")
    assert " helps: sudo PYTHON=/path/to/python3.12 ./setup.sh serve\n" in environment.refused()


def test_space_is_looked_at_first(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=499 << 20))
    assert "need about 500 MB, and there are 499 MB free" in environment.refused()
    assert environment.asked == []
