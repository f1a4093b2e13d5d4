"""Commands that were documented as modules of their own go on working."""

import runpy
import sys
from pathlib import Path

import pytest

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
    assert capsys.readouterr().out.startswith(f"usage: {command(name)} ")


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
