"""A small file of records is replaced whole, whoever else writes it and however the writing ends."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ml_target.system.record import write_json

OLD, NEW = {"a": 1}, {"a": 2, "ü": [None, True]}
OTHER = """
import sys
from pathlib import Path
from ml_target.system.record import write_json
write_json(Path(sys.argv[1]), {})
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_json(tmp_path / "record.json", OLD)
    return tmp_path / "record.json"


def test_it_is_written_and_replaced(file: Path) -> None:
    assert json.loads(file.read_text(encoding="utf-8")) == OLD
    write_json(file, NEW)
    assert json.loads(file.read_text(encoding="utf-8")) == NEW
    assert file.read_text(encoding="utf-8").endswith("}\n"), "people look into it, too"
    assert list(file.parent.iterdir()) == [file]


def test_its_permissions_are_those_of_any_file(file: Path) -> None:
    """Another user, such as a container's, may have to read what this one wrote."""
    (plain := file.with_name("plain")).touch()
    assert file.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("step", ["open", "replace"])
def test_what_fails_leaves_the_old_one_and_nothing_else(file: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, step, full)
    with pytest.raises(OSError, match="No space"):
        write_json(file, NEW)
    monkeypatch.undo()
    assert json.loads(file.read_text(encoding="utf-8")) == OLD
    assert list(file.parent.iterdir()) == [file]


def test_all_of_it_is_on_the_disk_before_it_has_its_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str]] = []

    def fsync(number: int) -> None:
        written = Path(f"/proc/self/fd/{number}").resolve()
        seen.append((written.read_text(encoding="utf-8"), file.read_text(encoding="utf-8")))

    before = file.read_text(encoding="utf-8")
    monkeypatch.setattr(os, "fsync", fsync)
    write_json(file, NEW)
    assert seen == [(file.read_text(encoding="utf-8"), before)]


def test_writers_do_not_write_into_each_others_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second process and a second thread write while this one is in the midst of it."""
    fsync = os.fsync
    threads: list[threading.Thread] = []

    def interrupted(number: int) -> None:
        fsync(number)
        if not threads:
            subprocess.run([sys.executable, "-c", OTHER, file], check=True)
            assert file.read_text(encoding="utf-8") == "{}\n"
            threads.append(threading.Thread(target=write_json, args=(file, {"thread": 1})))
            threads[0].start()
            threads[0].join()
            assert json.loads(file.read_text(encoding="utf-8")) == {"thread": 1}

    monkeypatch.setattr(os, "fsync", interrupted)
    write_json(file, NEW)
    assert json.loads(file.read_text(encoding="utf-8")) == NEW
    assert list(file.parent.iterdir()) == [file]
