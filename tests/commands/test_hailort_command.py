"""`python3 -m ml_target hailort`: fetches HailoRT's packages after a yes, and keeps what was accepted."""

import argparse
import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from file_server import FileServer, serving
from standin_hailort import deb_name, wheel_name, write_deb, write_packages

from ml_target import remedies
from ml_target.__main__ import main
from ml_target.config import Settings
from ml_target.hailort import accepted, command
from ml_target.hailort.packages import Platform

DEB, WHEEL = deb_name("4.23.0", "arm64"), wheel_name("4.23.0", "arm64", "3.12")
ARGUMENTS = ("--version", "4.23.0", "--machine", "aarch64", "--python", "3.12")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    write_packages(folder, "4.23.0", "arm64", "3.12")
    return folder


@pytest.fixture
def server(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(command, "MD5", {})
    with serving() as web:
        for path in packages.iterdir():
            web.add(f"/hailo/{path.name}", path.read_bytes())
        monkeypatch.setenv("HAILORT_SOURCE", f"{web.url}/hailo/")
        yield web


def fetch(folder: Path, *more: str) -> int:
    return main(["hailort", "fetch", "--to", str(folder), *ARGUMENTS, *more])


class Answers:
    """Answers in turn; it keeps what was asked."""

    def __init__(self, *answers: bool) -> None:
        self.given, self.asked = list(answers), list[str]()

    def __call__(self, question: str) -> bool:
        self.asked.append(question)
        return self.given.pop(0)


def asking(folder: Path, server: FileServer, answers: Answers) -> int:
    return command.fetch(
        command.Wanted("4.23.0", Platform("aarch64", "cp312"), f"{server.url}/hailo/", folder), answers
    )


def test_fetches_both_after_a_yes_and_remembers_their_sums(
    server: FileServer, tmp_path: Path, packages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(tmp_path, "--yes") == 0
    said = capsys.readouterr().out
    for name in (DEB, WHEEL):
        content = (tmp_path / name).read_bytes()
        assert content == (packages / name).read_bytes()
        assert f"{name}: no checksum is published. SHA-256 {hashlib.sha256(content).hexdigest()}" in said
        assert accepted.read(tmp_path)[name] == hashlib.sha256(content).hexdigest()
    assert "plain http: anybody on the way could change them" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([accepted.RECORD, DEB, WHEEL])
    asked = len(server.asked)
    assert fetch(tmp_path, "--yes") == 0
    assert len(server.asked) == asked


def test_fetches_nothing_without_a_yes(server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asking(tmp_path, server, Answers(False)) == 1
    assert server.asked == []
    assert "Hailo Developer Zone" in capsys.readouterr().err


def test_nobody_at_the_terminal_is_no_yes(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes"))
    assert fetch(tmp_path) == 1
    assert server.asked == []


def test_the_end_of_input_is_no_yes(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-D on a terminal."""
    monkeypatch.setattr("sys.stdin", ended := io.StringIO())
    monkeypatch.setattr(ended, "isatty", lambda: True)
    assert fetch(tmp_path) == 1
    assert server.asked == []


def test_in_a_container_only_a_folder_of_the_host_is_filled(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv(remedies.IN_IMAGE, "1")
    monkeypatch.setenv("HAILORT_DIR", str(mounted := tmp_path / "hailort"))
    assert main(["hailort", "fetch", *ARGUMENTS, "--yes"]) == 1
    assert f"no folder is mounted at {mounted}" in (said := capsys.readouterr().err)
    assert f"-v FOLDER:{mounted} --user " in said
    mounted.mkdir(mode=0o555)
    assert main(["hailort", "fetch", *ARGUMENTS, "--yes"]) == 1
    assert f"{mounted} cannot be written" in (said := capsys.readouterr().err)
    assert "--user " in said
    assert server.asked == []
    mounted.chmod(0o755)
    assert main(["hailort", "fetch", *ARGUMENTS, "--yes"]) == 0
    assert (mounted / DEB).exists()


def test_asks_about_each_file_without_a_known_sum(server: FileServer, tmp_path: Path) -> None:
    answers = Answers(True, True, False)
    assert asking(tmp_path, server, answers) == 1
    assert answers.asked == [f"Fetch into {tmp_path}?", "Keep it?", "Keep it?"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [accepted.RECORD, DEB]


def test_who_has_said_yes_to_the_server_is_asked_about_the_sums_alone(server: FileServer, tmp_path: Path) -> None:
    """As setup.sh does, whose own question names the server."""
    answers = Answers(True, True)
    wanted = command.Wanted("4.23.0", Platform("aarch64", "cp312"), f"{server.url}/hailo/", tmp_path, agreed=True)
    assert command.fetch(wanted, answers) == 0
    assert answers.asked == ["Keep it?", "Keep it?"]


def test_holds_a_published_sum(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packages: Path, capsys: Any
) -> None:
    right = hashlib.md5((packages / DEB).read_bytes()).hexdigest()
    monkeypatch.setattr(command, "MD5", {DEB: right, WHEEL: "0" * 32})
    answers = Answers(True)
    assert asking(tmp_path, server, answers) == 1
    assert answers.given == []
    said = capsys.readouterr()
    assert f"{DEB}: MD5 {right}, as published" in said.out
    assert f"{WHEEL} is not the file that Hailo published" in said.err
    assert not (tmp_path / WHEEL).exists()


def test_refuses_another_file_than_the_accepted_one(server: FileServer, tmp_path: Path, capsys: Any) -> None:
    accepted.remember(tmp_path, DEB, "0" * 64)
    assert fetch(tmp_path, "--yes") == 1
    assert f"{DEB} is not the file that was accepted before" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [accepted.RECORD]


def other_version(packages: Path, folder: Path) -> bytes:
    write_deb(folder / DEB, "4.21.0", "arm64")
    return (folder / DEB).read_bytes()


def other_machine(packages: Path, folder: Path) -> bytes:
    write_deb(folder / DEB, "4.23.0", "amd64")
    return (folder / DEB).read_bytes()


def cut(packages: Path, folder: Path) -> bytes:
    return (packages / DEB).read_bytes()[:100]


def page(packages: Path, folder: Path) -> bytes:
    return b"<!doctype html><title>Log in</title>"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (other_version, "holds HailoRT 4.21.0"),
        (other_machine, "is made for amd64"),
        (cut, "is no Debian package"),
        (page, "by hand"),
    ],
)
def test_keeps_nothing_that_is_not_what_it_says(
    make: Callable[[Path, Path], bytes], words: str, server: FileServer, tmp_path: Path, packages: Path, capsys: Any
) -> None:
    (made := tmp_path / "made").mkdir()
    server.add(f"/hailo/{DEB}", make(packages, made))
    assert fetch(tmp_path / "to", "--yes") == 1
    assert words in capsys.readouterr().err
    assert list((tmp_path / "to").iterdir()) == []


def test_a_version_that_is_not_there(server: FileServer, tmp_path: Path, capsys: Any) -> None:
    assert main(["hailort", "fetch", "--to", str(tmp_path), "--version", "4.20.0", "--yes"]) == 1
    said = capsys.readouterr().err
    assert "hailort_4.20.0_" in said
    assert "by hand" in said


@pytest.mark.parametrize(
    ("given", "words"), [((), "cat /sys/module/hailo_pci/version"), (("--version", "x"), "not a ver")]
)
def test_needs_a_version(given: tuple[str, ...], words: str, capsys: Any) -> None:
    assert main(["hailort", "fetch", *given]) == 2
    assert words in capsys.readouterr().err


def test_packages_of_a_driver_that_will_not_do_are_not_fetched(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hailort", "fetch", "--to", str(tmp_path), "--version", "4.17.0", "--yes"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("HailoRT 4.17.0 is for a driver that is too old; the worker needs 4.20 or newer. Install ")
    assert server.asked == []


def test_a_list_says_when_no_packages_fit_the_driver(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder := tmp_path / "sys/module/hailo_pci").mkdir(parents=True)
    (folder / "version").write_text("4.17.0\n")
    command.add_arguments(parser := argparse.ArgumentParser())
    assert command.run(parser.parse_args(["list", "--to", str(tmp_path)]), Settings(), tmp_path) == 1
    said = capsys.readouterr().out
    assert "hailo_pci 4.17.0 is loaded, which is too old; the worker needs 4.20 or newer. Install the driver" in said
    assert "They come from" not in said


def test_a_folder_that_cannot_be_written(server: FileServer, tmp_path: Path, capsys: Any) -> None:
    (closed := tmp_path / "closed").mkdir(mode=0o555)
    assert fetch(closed, "--yes") == 1
    assert "--to" in capsys.readouterr().err


def test_lists_what_is_there(packages: Path, capsys: Any) -> None:
    assert main(["hailort", "list", "--to", str(packages), "--machine", "aarch64", "--python", "3.12"]) == 0
    said = capsys.readouterr().out
    assert "complete for aarch64, cp312: 4.23.0" in said
    assert DEB in said


def test_lists_what_is_passed_over_and_says_where_the_right_ones_are(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "hailort_4.23.0_arm64 (1).deb").touch()
    assert main(["hailort", "list", "--to", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "have other names: hailort_4.23.0_arm64 (1).deb" in said
    assert "They come from the Hailo Developer Zone" in said


def test_the_source_is_checked_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAILORT_SOURCE", "ftp://hailo")
    with pytest.raises(Exception, match="begins with http"):
        Settings.from_environment()
