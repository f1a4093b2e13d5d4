"""The conversation between planner and shell: words that go out and come in, and how it ends."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from project import PROJECT, imported
from setup_planned import PlannedHost

from ml_target.config import Settings
from ml_target.errors import SettingsError
from ml_target.setup.__main__ import GoneError, Shell, carry_out
from ml_target.setup.facts import Node, read
from ml_target.setup.settings import PASSED
from ml_target.setup.steps import Answer, Arm, Err, Out, Plan, Refusal, Run, Undo, quoted, words_of


def shell(answers: bytes) -> tuple[Shell, io.BytesIO]:
    """The other side, which has answered already."""
    sink = io.BytesIO()
    return Shell(io.BufferedReader(io.BytesIO(answers)), sink), sink


def told(sink: io.BytesIO) -> list[str]:
    return sink.getvalue().decode().split("\0")[:-1]


def test_a_step_goes_out_and_its_answer_comes_in() -> None:
    other, sink = shell("7\0two\nlines ü\0".encode())
    assert other.tell(Run(("docker", "a b", ""), "quiet")) == Answer(7, "two\nlines ü")
    assert told(sink) == ["4", "run", "quiet", "docker", "a b", ""]


def test_deeds_go_out_with_their_number_of_words() -> None:
    deeds = (Undo(("true",), done="there"), Undo(("docker", "rm", "x"), ("x", "y"), "label", failed="kept"))
    assert words_of(Arm(deeds)) == [
        "arm", "5", "", "there", "", "0", "true", "9", "label", "", "kept", "2", "x", "y", "docker", "rm", "x",
    ]  # fmt: skip
    assert words_of(Arm()) == ["arm"]


def test_the_last_step_says_how_it_ended() -> None:
    def fine() -> Plan[None]:
        yield Out("a line")

    def refused() -> Plan[None]:
        yield Err("a line")
        raise Refusal("this is wrong.", "do that")

    def unreadable() -> Plan[None]:
        yield Out("a line")
        raise PermissionError(13, "Permission denied", "models/x.hef")

    for plan, last in (
        (fine, ["0", "end"]),
        (refused, ["2", "refuse", "this is wrong.", "do that"]),
        (
            unreadable,
            ["2", "refuse", "models/x.hef cannot be read: Permission denied.", "Fix that, then run this again."],
        ),
    ):
        other, sink = shell(b"0\0\0" * 2)
        carry_out(other, plan())
        assert told(sink)[3:] == last


def test_a_shell_that_has_gone_ends_the_planner() -> None:
    other, _ = shell(b"0")
    with pytest.raises(GoneError):
        other.tell(Out("a line"))


def test_what_was_seen_is_read() -> None:
    facts = ["project=/a b", "root=", "shell_root=/other", "machine=x86_64", "kernel=6", "user=7", "asks=1", "sees="]
    facts += ["nodes=/dev/hailo0 660 44\n/dev/hailo1 666 0\n", "built=an:image"]
    words = [str(len(facts)), *facts, "2", "--cpu", "a b", "NAME=a=b\nc", "EMPTY=", ""]
    found = read(iter(words))
    assert found.arguments == ("--cpu", "a b")
    assert found.environment == {"NAME": "a=b\nc", "EMPTY": ""}
    assert (str(found.root), found.shell_root) == ("/", "/other")
    assert (found.user, found.asks, found.sees, found.built) == (7, True, False, "an:image")
    assert found.nodes == (Node("/dev/hailo0", 0o660, "44"), Node("/dev/hailo1", 0o666, "0"))


@pytest.mark.parametrize("word", ["plain", "a b", "it's", "", "$HOME", "a\nb", "*", "ü", "--x=/a:b,c@d%e+f"])
def test_a_command_is_shown_as_it_can_be_typed(word: str) -> None:
    done = subprocess.run(["bash", "-c", f"printf %s {quoted(word)}"], capture_output=True, text=True, check=True)
    assert done.stdout == word


def test_the_planner_needs_only_python_itself() -> None:
    """A host's bare Python runs it, without any package; the shell knows which modules of its own it must have."""
    code = (
        "import sys, ml_target.setup.__main__; print({n: getattr(sys.modules[n], '__file__', '') for n in sys.modules})"
    )
    call = [sys.executable, "-S", "-c", code]
    done = subprocess.run(call, cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded: dict[str, str] = eval(done.stdout)
    assert {name.partition(".")[0] for name in loaded} <= {*sys.stdlib_module_names, "ml_target", "__main__"}
    ours = [Path(file) for name, file in loaded.items() if name.partition(".")[0] == "ml_target"]
    wanted = {name.partition(".")[0] for file in ours for name in imported(file)} - {"ml_target"}
    text = (PROJECT / "scripts/setup_host.sh").read_text()
    assert text.partition("modules=(")[2].partition(")")[0].split() == sorted(wanted)


def test_the_settings_that_sudo_would_drop_are_the_workers() -> None:
    """The list in the shell is for its hint alone; the planner reads the settings from the worker's own code."""
    text = (PROJECT / "scripts/setup_host.sh").read_text()
    listed = text.partition("to_tell=(")[2].partition(")")[0].split()
    others = {"IMMICH_PORT", "CONTAINER_MEMORY", "CLIP_BACKEND", "LOG_LEVEL", "ENGINE", "HAILORT_VERSION"}
    others |= {"HAILORT_SOURCE", "BASE_IMAGE", "IMAGE", "MODELS_MIRROR", "HF_ENDPOINT"}
    assert sorted(listed) == sorted({*PASSED, *others})


def test_the_words_of_a_wrong_name_are_said(host: PlannedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the settings change between two looks at them, the last words still come."""
    calls: list[Any] = []

    def second(environment: Any, chip: Any = None) -> list[str]:
        calls.append(environment)
        raise SettingsError("CLIP_BACKEND=x", "Correct it")

    monkeypatch.setattr("ml_target.setup.words.told", second)
    done = host.run("--yes")
    assert done.code == 0
    assert "CLIP model  unknown: CLIP_BACKEND=x. Correct it" in done.out
    assert calls[0]["CLIP_BACKEND"] == Settings().clip_backend
