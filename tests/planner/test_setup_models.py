"""Set-up and the model files: which it wants, for which chip, and that nothing is fetched without a yes."""

import pytest
from setup_planned import PlannedHost

from ml_target.config import Settings
from ml_target.setup.steps import Answer

# --------------------------------------------------------------------- chip


@pytest.mark.parametrize("chip", ["hailo8", "hailo8l"])
def test_the_card_is_asked_what_it_is(host: PlannedHost, chip: str) -> None:
    host.change(chip=chip)
    done = host.run("--yes", "--no-start")
    assert f"the card is a {chip}" in done.out
    asked = next(words for words in host.calls() if words[-1] == "--chip")
    assert asked == [
        "run", "--rm", "--device=/dev/hailo0:/dev/hailo0", f"--group-add={host.group}",
        "--read-only", "-v", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--pids-limit", "4096",
        "--entrypoint", "python3", "immich-ml-hailo:v4.23.0-slim", "-m", "ml_target", "doctor", "--chip",
    ]  # fmt: skip
    fetch = next(words for words in host.calls() if "fetch" in words)
    assert fetch[fetch.index("--chip") + 1] == chip


def test_a_chip_that_is_told_is_not_asked(host: PlannedHost) -> None:
    done = host.run("--yes", "--no-start", "--chip", "hailo8l")
    assert "hailo8l, as told with --chip" in done.out
    assert not any(words[-1] == "--chip" for words in host.calls())


def test_a_card_that_does_not_say_what_it_is(host: PlannedHost) -> None:
    host.fault("run --rm --device", "WRONG  identity  status 36")
    done = host.run("--yes")
    assert done.refused
    assert "WRONG  identity  status 36" in done.err
    assert done.reason == "the card does not say what it is."
    assert "./setup.sh --chip hailo8 (or hailo8l)" in done.remedy
    assert "fetch" not in host.changes()


# -------------------------------------------------------------------- which


@pytest.mark.parametrize("backend", ["", "siglip2", "vit_b_16,siglip", "auto"])
@pytest.mark.parametrize("cpu", [False, True])
def test_whose_files_are_wanted(host: PlannedHost, backend: str, cpu: bool) -> None:
    """The store decides by the settings, and by what an image for a card holds besides."""
    host.run("--yes", "--no-start", *(["--cpu"] if cpu else []), **({"CLIP_BACKEND": backend} if backend else {}))
    for action in ("missing", "fetch"):
        words = next(words for words in host.calls() if action in words)
        assert words[words.index(f"CLIP_BACKEND={backend or Settings().clip_backend}") - 1] == "-e"
        assert words[words.index("--engine") + 1] == ("cpu" if cpu else "hailo")
        assert ("--baked" in words) != cpu


def test_settings_decide_what_is_wanted(host: PlannedHost) -> None:
    host.run("--yes", "--no-start", FACE_DETECTOR="scrfd_10g")
    words = next(words for words in host.calls() if "fetch" in words)
    assert words[words.index("FACE_DETECTOR=scrfd_10g") - 1] == "-e"


def test_settings_that_are_kept_decide_too(host: PlannedHost) -> None:
    settings = {"immich-ml-hailo.setup": "1", "immich-ml-hailo.settings": "IMMICH_PORT=65000 FACE_DETECTOR=scrfd_10g"}
    host.container(labels=settings)
    host.run("--yes", "--no-start")
    assert "FACE_DETECTOR=scrfd_10g" in next(words for words in host.calls() if "fetch" in words)


@pytest.mark.parametrize(
    ("uid", "security", "wanted"), [("0", "rootless", "7:8"), ("1000", "seccomp", "7:8"), ("1000", "rootless", "0:0")]
)
def test_files_belong_to_the_owner_of_the_folder(host: PlannedHost, uid: str, security: str, wanted: str) -> None:
    host.user = int(uid)
    host.tools["stat"] = lambda words: Answer(0, "7:8\n" if words[-1] == "models" else "")
    host.change(security=f"[name={security}]")
    host.run("--yes", "--no-start")
    words = next(words for words in host.calls() if "fetch" in words)
    assert words[words.index("--user") + 1] == wanted


# ------------------------------------------------------------------ offered


def test_nothing_is_fetched_without_a_yes(host: PlannedHost) -> None:
    done = host.run_in_terminal("y\nn\nn\n")
    assert done.refused
    assert done.reason == "without them their tasks would be off."
    assert "MODELS_MIRROR=" in done.remedy
    assert "./setup.sh --missing-ok" in done.remedy
    assert "x.hef (faces)" in done.out
    assert "non-commercial research" in done.out
    assert "fetch" not in host.changes()


def test_going_on_without(host: PlannedHost) -> None:
    done = host.run_in_terminal("y\nn\nn\n", "--missing-ok", "--no-start")
    assert done.code == 0, done.err
    assert host.changes()[-1] == "build immich-ml-hailo:v4.23.0"
    assert "their tasks are OFF" in done.out
    done = host.run("--dry-run", "--missing-ok")
    assert "--expect-all" not in done.out, "tasks may be off then"


def test_a_store_that_fails_is_told(host: PlannedHost) -> None:
    host.fault("run --rm --network", "error: FACE_DETECTOR=x: it takes one of scrfd_2.5g, scrfd_10g")
    done = host.run("--yes")
    assert done.refused
    assert done.reason == "the model files could not be looked at."
    assert "it takes one of scrfd_2.5g" in done.err


def test_a_warning_of_docker_is_no_missing_file(host: PlannedHost) -> None:
    host.change(missing=[], warns="WARNING: Your kernel does not support memory limit capabilities.")
    done = host.run("--yes")
    assert done.code == 0, done.err
    assert "all there for tinyclip" in done.out
    assert "fetch" not in host.changes()
