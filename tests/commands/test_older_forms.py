"""Commands that were documented as modules of their own go on working."""

import re
import runpy
import sys
from importlib import import_module
from pathlib import Path

import pytest
from project import PROJECT

from ml_target.__main__ import main
from ml_target.remedies import command

FORMS = {
    "doctor": "doctor", "selfcheck": "selfcheck", "healthcheck": "healthcheck", "hef_inspect": "inspect",
    "inspect_models": "models",
}  # fmt: skip


@pytest.mark.parametrize(("module", "name"), FORMS.items())
def test_it_is_the_command(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(f"ml_target.{module}", run_name="__main__")
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith((f"usage: {command(name)} ", f"usage: {command(name)}\n"))


def test_the_installed_command_is_the_same_main() -> None:
    written = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(r'^ml-target = "([\w.]+):(\w+)"$', written, re.MULTILINE)
    assert found is not None
    assert getattr(import_module(found.group(1)), found.group(2)) is main


def test_its_types_are_told_to_who_imports_it() -> None:
    assert (PROJECT / "ml_target" / "py.typed").is_file()
    assert '"ml_target" = ["py.typed"]' in (PROJECT / "pyproject.toml").read_text(encoding="utf-8")


def test_arguments_are_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["inspect_models", "--chip", "hailo8l", "--fresh"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("ml_target.inspect_models", run_name="__main__")
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("file ")
    assert " hailo8l " in out
