"""What the measuring scripts refuse before they begin."""

import importlib
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def accuracy(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[object]:
    """`scripts/bench accuracy` with these words: what it would measure, without pages."""
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    script = importlib.import_module("bench_accuracy")
    asked: list[object] = []
    monkeypatch.setattr(script, "pages", lambda seed: [seed])
    monkeypatch.setattr(script, "run", lambda corpus, tiles: asked.extend([corpus, tiles]))
    monkeypatch.setattr(sys, "argv", ["bench_accuracy.py", "--photos", "nowhere", *words])
    script.main()
    return asked


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--tiles"], "argument --tiles: expected at least one argument"),
        (["--tiles", "0"], "argument --tiles: '0' is not a whole number from 1 on"),
        (["--tiles", "4", "-1"], "argument --tiles: '-1' is not a whole number from 1 on"),
        (["--tiles", "many"], "argument --tiles: 'many' is not a whole number from 1 on"),
        (["--seeds", "0"], "argument --seeds: '0' is not a whole number from 1 on"),
    ],
)
def test_accuracy_refuses_what_is_no_number_of_tiles_or_seeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], error: str
) -> None:
    with pytest.raises(SystemExit) as end:
        accuracy(monkeypatch, *words)
    assert end.value.code == 2
    assert error in capsys.readouterr().err


def test_accuracy_takes_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accuracy(monkeypatch, "--seeds", "2", "--tiles", "1", "16") == [[0, 100], [1, 16]]
    assert accuracy(monkeypatch) == [[0], [1, 2, 16]]
