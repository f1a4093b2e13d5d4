"""setup.sh, its options and its questions: what makes no sense is refused, and nothing happens without a yes."""

import subprocess

import pytest
from setup_planned import PlannedHost


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--clip-backend"], "--clip-backend takes a name; not ''."),
        (["--chip="], "--chip takes a name; not ''."),
        (["--clip-backend=a b"], "--clip-backend takes a name; not 'a b'."),
        (["--chip", "hailo8", "--cpu"], "--chip is about a card, --cpu is without one."),
        (["--gpu"], "there is no option '--gpu'."),
        (["--yes", "serve"], "there is no option 'serve'."),
    ],
)
def test_options_that_make_no_sense(host: PlannedHost, arguments: list[str], reason: str) -> None:
    assert host.refusal(*arguments)[0] == reason
    assert host.calls() == []


@pytest.mark.parametrize(
    ("arguments", "given", "words"),
    [
        (
            ["--clip-backend", "clip"],
            {},
            "CLIP_BACKEND=clip: it takes one of tinyclip, vit_b_32",
        ),
        (
            [],
            {"CLIP_BACKEND": "clip"},
            "CLIP_BACKEND=clip: it takes one of tinyclip, vit_b_32",
        ),
        (["--chip=hailo15"], {}, "--chip takes one of: hailo8 hailo8l; not 'hailo15'."),
    ],
)
def test_what_there_is_the_workers_own_code_knows(
    host: PlannedHost, arguments: list[str], given: dict[str, str], words: str
) -> None:
    assert host.refusal(*arguments, **given)[0].startswith("a setting is not right; the line above says which")
    assert words in host.run("--yes", *arguments, **given).out


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("CLIP_BACKEND", "a b", "CLIP_BACKEND='a b' has a character in it that no such setting has."),
        ("ENGINE", "gpu", "ENGINE=gpu is not known."),
        ("FACE_DETECTOR", "a b", "FACE_DETECTOR='a b' has a character in it that no such setting has."),
        ("FACE_DETECTOR", "a|b", "FACE_DETECTOR='a|b' has a character in it that no such setting has."),
        ("FACE_DETECTOR", "*", "FACE_DETECTOR='*' has a character in it that no such setting has."),
        ("MODELS_DIR", "/data", "MODELS_DIR is not for containers: the image takes what is in "),
    ],
)
def test_settings_that_make_no_sense(host: PlannedHost, name: str, value: str, reason: str) -> None:
    assert host.refusal(**{name: value})[0].startswith(reason)


def test_a_folder_that_docker_cannot_take(host: PlannedHost) -> None:
    host.checkout = host.checkout.rename(host.checkout.with_name("a:b"))
    assert "has a colon in its name" in host.refusal()[0]


# ------------------------------------------------------------------ answers


def test_nobody_to_ask(host: PlannedHost) -> None:
    before = host.tree()
    done = host.run()
    assert done.refused
    assert done.reason.startswith("this needs an answer, and there is nobody to ask: Build what is missing, and start ")
    assert "./setup.sh --yes" in done.remedy
    assert "./setup.sh --dry-run" in done.remedy
    assert host.changes() == []
    assert host.tree() == before


def test_no_is_an_answer(host: PlannedHost) -> None:
    done = host.run_in_terminal("no\n")
    assert done.refused
    assert done.reason == "stopped; nothing was changed."
    assert host.changes() == []


def test_yes_is_asked_once_for_everything_and_once_for_the_download(host: PlannedHost) -> None:
    done = host.run_in_terminal("\n\ny\n", "--no-start")
    assert done.code == 0, done.err
    assert done.err.count("[Y/n]") == 2
    assert done.err.count("    [n] ") == 1
    assert host.changes()[-2:] == ["fetch", "build immich-ml-hailo:v4.23.0"]


def test_a_dry_run_changes_nothing_and_shows_every_command(host: PlannedHost) -> None:
    before = host.tree()
    done = host.run("--dry-run")
    assert done.code == 0, done.err
    assert host.tree() == before
    assert host.changes() == []
    assert not [words for words in host.calls() if words[0] in ("run", "exec")]
    shown = [line.strip() for line in done.out.splitlines() if line.startswith("    $ docker ")]
    wanted = ["build", "build", "run --rm", "run --rm", "run --rm", "build", "run -d", "exec"]
    assert len(shown) == len(wanted)
    for line, command in zip(shown, wanted, strict=True):
        assert line.startswith(f"$ docker {command} ")
    assert "models fetch --engine hailo --chip CHIP" in shown[4]
    assert "CLIP model  ViT-B-32__openai" in done.out, "what to type into Immich"
    assert "Nothing was changed." in done.out


def test_what_a_dry_run_shows_can_be_typed(host: PlannedHost) -> None:
    shown = [line.strip()[2:] for line in host.run("--dry-run").out.splitlines() if "$ docker run -d" in line]
    done = subprocess.run(
        ["bash", "-c", f'docker() {{ printf "%s\\n" "$@"; }}; {shown[0]}'], capture_output=True, text=True, check=True
    )
    words = done.stdout.splitlines()
    settings = f"IMMICH_PORT=65000 CLIP_BACKEND=tinyclip LIMIT=4g DEVICE=/dev/hailo0 GROUP={host.group}"
    assert f"immich-ml-hailo.settings={settings}" in words
    assert words[-1] == "immich-ml-hailo:v4.23.0"


def test_a_dry_run_refuses_as_a_real_one(host: PlannedHost) -> None:
    host.no_card()
    done = host.run("--dry-run")
    assert done.reason == "this machine has no Hailo card."
