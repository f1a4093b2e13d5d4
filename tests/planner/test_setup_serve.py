"""The question about the library that `./setup.sh serve` asks: once, on a terminal, in set-up's own words."""

import errno
import io
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ml_target.setup import serve
from ml_target.setup.serve import NAME, at_terminal, main, seen

ASKED = "Has Immich, with its own worker, indexed this library already?"
KEPT = "CLIP_BACKEND=vit_b_32 FACE_RECOGNIZER=buffalo_l FACE_DETECTOR=buffalo_l"


@dataclass
class Home:
    """A project's folder, and how `serve` is started there on the processor."""

    folder: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    code: int = 0
    said: str = ""

    @property
    def note(self) -> Path:
        return self.folder / NAME

    def run(self, typed: str | None, **environment: str) -> list[str]:
        """The lines of standard output. `typed`: at the terminal; None: there is none."""
        facts = replace(
            seen(), project=self.folder, environment={"ENGINE": "cpu", **environment}, asks=typed is not None
        )
        self.patch.setattr(serve, "seen", lambda: facts)
        self.patch.setattr(sys, "stdin", io.StringIO(typed or ""))
        self.code = main()
        out, self.said = self.capture.readouterr()
        return out.split("\n")[:-1]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Home:
    return Home(tmp_path, monkeypatch, capsys)


def test_it_is_asked_once_and_the_answer_is_kept(home: Home) -> None:
    assert home.run("y\n\n") == KEPT.split()
    assert (home.code, home.said.count(ASKED)) == (0, 1)
    assert f"Set it up with {KEPT}? [Y/n]" in home.said
    assert f"kept in {home.note} for ./setup.sh serve; another start, such as systemd's, has to be" in home.said
    assert home.note.read_text() == f"{KEPT}\n"
    for typed in ("", None):  # Ctrl-D would refuse; with and without a terminal
        assert home.run(typed) == KEPT.split()
        assert ASKED not in home.said
        assert f"as answered before: {KEPT} (from {home.note}; delete that to be asked again)" in home.said


def test_a_new_library_is_said_for_good(home: Home) -> None:
    assert home.run("no such model\nn\n") == ["CLIP_BACKEND=tinyclip"]
    assert "Immich knows no CLIP model" in home.said
    assert home.note.read_text() == "CLIP_BACKEND=tinyclip\n"


@pytest.mark.parametrize(("engine", "detector"), [("hailo", "scrfd_10g"), ("HAILO", "scrfd_10g"), ("Cpu", "buffalo_l")])
def test_the_engine_decides_what_is_proposed(home: Home, engine: str, detector: str) -> None:
    assert home.run("y\ny\n", ENGINE=engine)[-1] == f"FACE_DETECTOR={detector}"


def test_without_a_terminal_and_where_the_backend_is_told_nothing_is_asked(home: Home) -> None:
    for typed, given in ((None, {}), ("y\n", {"CLIP_BACKEND": "siglip"}), (None, {"CLIP_BACKEND": " "})):
        assert home.run(typed, **given) == [""]
        assert (home.code, home.said) == (0, "")
        assert not home.note.exists()


def test_what_the_environment_has_stays(home: Home) -> None:
    """Set and empty is the default, but for the backend, which was answered."""
    assert home.run("y\ny\n", FACE_RECOGNIZER="", CLIP_BACKEND="") == [
        "CLIP_BACKEND=vit_b_32",
        "FACE_DETECTOR=buffalo_l",
    ]
    given = {"CLIP_BACKEND": "siglip", "FACE_DETECTOR": "scrfd_10g"}
    assert home.run(None, **given) == ["FACE_RECOGNIZER=buffalo_l"], "people are the same, whatever searches"
    assert "as answered before: FACE_RECOGNIZER=buffalo_l (from " in home.said
    assert home.run(None, **given, FACE_RECOGNIZER="arcface_r50") == [""]
    assert home.said == ""


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [("", "To be asked nothing: CLIP_BACKEND=NAME ./setup.sh serve"), ("y\nn\n", "Choose yourself: CLIP_BACKEND=…")],
)
def test_no_answer_is_kept_where_there_was_none(home: Home, typed: str, remedy: str) -> None:
    reason, *remedies = home.run(typed)
    assert (home.code, reason) == (1, "stopped; the worker was not changed.")
    assert remedies[0].startswith(remedy)
    assert not home.note.exists()


def test_ctrl_c_ends_it_without_a_word(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(step: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(serve, "carry_out", interrupted)
    assert home.run("y\n") == []
    assert (home.code, home.said) == (130, "")


def test_an_answer_that_cannot_be_kept_is_used_and_said(home: Home) -> None:
    home.folder = home.folder / "gone"
    assert home.run("y\ny\n") == KEPT.split()
    assert f"this could not be kept in {home.note}; " in home.said
    assert f"to be asked nothing the next time: {KEPT} ./setup.sh serve" in home.said


@pytest.mark.parametrize("content", ["CLIP_BACKEND=a b", "", "FACE_DETECTOR=buffalo_l", "CLIP_BACKEND=x;reboot"])
def test_a_damaged_note_is_refused_with_the_line_that_forgets_it(home: Home, content: str) -> None:
    home.note.write_text(content)
    reason, remedy = home.run(None)
    assert (home.code, reason) == (1, f"{home.note}, what was answered about the library, is damaged.")
    assert f"rm -f '{home.note}'" in remedy


def test_in_the_background_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads from the terminal there is stopped."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def fileno(self) -> int:
            return 0

    for stream in ("stdin", "stderr"):
        monkeypatch.setattr(sys, stream, Terminal())
    monkeypatch.setattr("os.getpgrp", lambda: 7)
    for group, asked in ((7, True), (8, False)):
        monkeypatch.setattr("os.tcgetpgrp", lambda fd, group=group: group)
        assert at_terminal() is asked

    def of_another_session(fd: int) -> int:
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

    monkeypatch.setattr("os.tcgetpgrp", of_another_session)
    assert not at_terminal()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert not at_terminal()
