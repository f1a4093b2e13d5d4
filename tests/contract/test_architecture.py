"""The drawing of docs/architecture.svg has the rooms and floors that the tree has; its counts may lag behind."""

import importlib
import sys
from types import ModuleType

import pytest
from project import PROJECT


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(PROJECT / "scripts"))
    return importlib.import_module("draw_architecture")


def check(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["draw_architecture.py", "--check"])
    script.main()


def test_the_committed_drawing_has_every_room(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    check(script, monkeypatch)
    assert "tasks" in (PROJECT / "docs/architecture.svg").read_text(encoding="utf-8")


def test_what_is_drawn_is_what_is_read(script: ModuleType) -> None:
    floors = script.floors()
    assert script.floors_in(script.draw(floors)) == floors


def test_a_room_that_is_not_drawn_is_noticed(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    floors = script.floors()
    monkeypatch.setattr(script, "floors", lambda: [*floors, ["cellar"]])
    with pytest.raises(SystemExit, match="shows other rooms than the tree"):
        check(script, monkeypatch)
