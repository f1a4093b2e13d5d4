"""The worker's settings as setup.sh hands them on, keeps them, refuses them, and asks about their change."""

from dataclasses import fields
from pathlib import Path

import pytest
from project import PROJECT
from setup_planned import PlannedHost

from ml_target.config import Settings, setting_names, setting_text

REFUSED = {"IMMICH_HOST": "192.168.1.20", "HAILO_GROUP_ID": "shared", "MODELS_DIR": "/data"}
REFUSED |= {"HAILORT_DIR": "/hailort", "MODELS_FETCH": "on"}
OTHERS = {
    "CLIP_BACKEND": "siglip",
    "ENGINE": "cpu",
    "HAILO_DEVICE_COUNT": "1",
    "HAILO_DEVICE_IDS": "0000:01:00.0",
    "MODELS_MIRROR": "http://files.lan",
    "HF_ENDPOINT": "http://hub.lan",
    "HAILORT_SOURCE": "http://files.lan",
    "IMMICH_PORT": "3999",
    "PAGE_HOSTS": "ml.example.org",
}
"""Values for those settings that do not take just any word."""


# --------------------------------------------------------------- each of them


def test_each_setting_of_the_worker_is_handed_on_or_refused(host: PlannedHost) -> None:
    """One that the worker learns later and setup.sh does not fails here."""
    given = {
        name: OTHERS.get(name, setting_text(Settings(), item.name))
        for item in fields(Settings)
        for name in setting_names(item.name)
        if name not in (*REFUSED, "LOG_LEVEL")
    }
    given["FACE_RECOGNIZER"] = "arcface_r50"
    assert all(given.values())
    host.no_packages()
    done = host.run("--dry-run", "--fetch-hailort", **given | {"ENGINE": "hailo"})
    assert done.code == 0, done.err
    assert "-e HAILORT_SOURCE " in done.out
    done = host.run("--dry-run", **given)
    assert done.code == 0, done.err
    del given["HAILORT_SOURCE"]
    for name, value in given.items():
        shown = {
            "IMMICH_PORT": "--publish 3999:3003",
            "MODELS_MIRROR": "-e MODELS_MIRROR ",
            "HF_ENDPOINT": "-e HF_ENDPOINT ",
        }
        assert shown.get(name, f"-e {name}={value} ") in done.out, f"{name} is dropped"


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_only_be_dropped_is_refused(host: PlannedHost, name: str) -> None:
    before = host.tree()
    done = host.run("--yes", **{name: REFUSED[name]})
    assert done.refused
    assert done.reason.startswith(f"{name} is not for ")
    assert f"env -u {name} ./setup.sh" in done.remedy
    assert REFUSED[name] in done.remedy, "and how to have it all the same"
    assert host.calls() == []
    assert host.tree() == before
    assert host.run("--dry-run", **{name: ""}).code == 0, "empty is as good as left out"


def test_the_log_level_by_its_second_name(host: PlannedHost) -> None:
    assert "-e IMMICH_LOG_LEVEL=debug " in host.run("--dry-run", LOG_LEVEL="debug").out
    assert "-e IMMICH_LOG_LEVEL=error " in host.run("--dry-run", LOG_LEVEL="debug", IMMICH_LOG_LEVEL="error").out


# ------------------------------------------------------------------ looked over


def test_settings_are_looked_over_before_anything_is_built(host: PlannedHost) -> None:
    done = host.run("--yes", "--no-start", HAILO_BATCH="64", CLIP_BACKENDS="siglip")
    assert done.refused
    assert "    NOTE: CLIP_BACKENDS has no effect: " in done.out
    assert "    HAILO_BATCH=64: it takes a whole number from 1 to 63. Correct it" in done.out
    assert host.changes() == []
    done = host.run("--yes", "--no-start", CLIP_BACKENDS="siglip")
    assert done.code == 0, done.err
    assert "CLIP_BACKEND was meant, perhaps." in done.out


# --------------------------------------------------------------- several cards


def test_two_cards_are_handed_on_together(host: PlannedHost) -> None:
    host.node(1)
    host.system({f"sys/bus/pci/devices/0000:02:00.0/{n}": v for n, v in (("vendor", "0x1e60"), ("device", "0x2864"))})
    host.system({"sys/bus/pci/devices/0000:02:00.0/driver/x": ""})
    both = f"--device=/dev/hailo0:/dev/hailo0 --device=/dev/hailo1:/dev/hailo1 --group-add={host.group} "
    for given in ({"HAILO_DEVICE_IDS": "0000:02:00.0"}, {"HAILO_DEVICE_COUNT": "2"}, {"HAILO_DEVICE_IDS": "02:00.0"}):
        out = host.run("--dry-run", **given).out
        ((name, value),) = given.items()
        assert f"$ docker run -d {both}--publish" in out
        assert f"DEVICE=/dev/hailo0,/dev/hailo1 GROUP={host.group}'" in out
        assert f"-e {name}={value} " in out
    out = host.run("--dry-run", HAILO_DEVICE_IDS="0000:01:00.0 0000:02:00.0").out
    assert f"$ docker run --rm {both}-e HAILO_DEVICE_IDS=0000:01:00.0,0000:02:00.0 --read-only" in out, (
        "the card in question is asked for its chip"
    )
    assert "hailo1" not in host.run("--dry-run").out, "no more than is asked for"
    assert "hailo1" not in host.run("--dry-run", "--cpu", HAILO_DEVICE_COUNT="2").out


def test_the_node_of_a_card_that_was_named(host: PlannedHost) -> None:
    host.node(1)
    for number, address in enumerate(("0000:01:00.0", "0000:02:00.0")):
        folder = f"sys/bus/pci/devices/{address}"
        host.system({f"{folder}/vendor": "0x1e60", f"{folder}/device": "0x2864", f"{folder}/driver/x": ""})
        host.system({f"sys/class/hailo_chardev/hailo{number}/board_location": address})
    for named in ("0000:02:00.0", "02:00.0"):
        out = host.run("--dry-run", HAILO_DEVICE_IDS=named).out
        assert "--device=/dev/hailo1:/dev/hailo1 " in out
        assert "hailo0" not in out
    assert "DEVICE=/dev/hailo1,/dev/hailo0 " in host.run("--dry-run", HAILO_DEVICE_IDS="02:00.0,01:00.0").out


@pytest.mark.parametrize(
    ("given", "reason", "remedy"),
    [
        (
            {"HAILO_DEVICE_IDS": "0000:09:00.0"},
            "HAILO_DEVICE_IDS=0000:09:00.0, but there is no Hailo-8 at 0000:09:00.0.",
            "Name one of these, or none: 0000:01:00.0\nTo take the first one again: HAILO_DEVICE_IDS= ./setup.sh",
        ),
        (
            {"HAILO_DEVICE_COUNT": "2"},
            "HAILO_DEVICE_COUNT=2, and there are only 1 of /dev/hailo*.",
            "HAILO_DEVICE_COUNT= ./setup.sh",
        ),
    ],
)
def test_cards_that_are_not_there(host: PlannedHost, given: dict[str, str], reason: str, remedy: str) -> None:
    done = host.run("--yes", **given)
    assert done.refused
    assert done.reason == reason
    assert remedy in done.remedy
    assert host.changes() == []


# --------------------------------------------------------------------- changes


def had(host: PlannedHost, settings: str) -> None:
    """A container of ours with these settings."""
    labels = {"immich-ml-hailo.setup": "1", "immich-ml-hailo.settings": f"IMMICH_PORT=65000 {settings}"}
    host.container(labels=labels)


@pytest.mark.parametrize(
    ("before", "arguments", "given", "words", "remedy"),
    [
        (
            "CLIP_BACKEND=siglip",
            ["--clip-backend", "tinyclip"],
            {},
            ["Until now it had CLIP_BACKEND=siglip.", "Smart Search → All"],
            "./setup.sh --clip-backend siglip",
        ),
        (
            "CLIP_BACKEND=tinyclip FACE_RECOGNIZER=arcface_mobilefacenet",
            [],
            {"FACE_RECOGNIZER": ""},
            ["Until now it had FACE_RECOGNIZER=arcface_mobilefacenet.", "Jobs → Face Detection → Reset"],
            "FACE_RECOGNIZER=arcface_mobilefacenet ./setup.sh",
        ),
        (
            "CLIP_BACKEND=tinyclip",
            [],
            {"FACE_RECOGNIZER": "arcface_mobilefacenet"},
            ["Until now it had FACE_RECOGNIZER=arcface_r50."],
            "FACE_RECOGNIZER= ./setup.sh",
        ),
        (
            "CLIP_BACKEND=siglip SIGLIP_RESIZE=shortest",
            [],
            {"SIGLIP_RESIZE": "squash"},
            ["Until now it had SIGLIP_RESIZE=shortest.", "Jobs → Smart Search → All"],
            "SIGLIP_RESIZE=shortest ./setup.sh",
        ),
        (
            "CLIP_BACKEND=tinyclip",
            ["--cpu"],
            {},
            ["Until now it ran on the card.", "Jobs → Smart Search → All", "Jobs → Face Detection → Reset"],
            "As it was: ./setup.sh",
        ),
        ("CLIP_BACKEND=tinyclip", [], {"ENGINE": "cpu"}, ["ran on the card."], "As it was: ENGINE= ./setup.sh"),
        ("CLIP_BACKEND=tinyclip ENGINE=cpu", [], {}, ["Until now it ran on the processor."], "./setup.sh --cpu"),
    ],
)
def test_a_change_that_spoils_what_immich_has_is_asked_about(
    host: PlannedHost, before: str, arguments: list[str], given: dict[str, str], words: list[str], remedy: str
) -> None:
    had(host, before)
    done = host.run_in_terminal("n\n", *arguments, **given)
    assert done.refused
    assert done.reason == "stopped; the worker was not changed."
    for text in words:
        assert text in done.out
    assert done.remedy.endswith(remedy)
    assert host.changes() == []


def test_a_change_needs_somebody_to_ask(host: PlannedHost) -> None:
    had(host, "CLIP_BACKEND=siglip")
    done = host.run("--clip-backend", "tinyclip")
    assert done.reason == "this needs an answer, and there is nobody to ask: Change it?"
    assert host.run("--yes", "--clip-backend", "tinyclip", "--no-start").code == 0


def test_other_changes_are_not_asked_about(host: PlannedHost) -> None:
    """Which do not, `tests/commands/test_change.py` has."""
    had(host, "CLIP_BACKEND=tinyclip")
    assert "Change it?" not in host.run("--dry-run", FACE_DETECTOR="scrfd_10g", HAILO_BATCH="4").out


# --------------------------------------------------------------------- library

ASKED = "Has Immich, with its own worker, indexed this library already?"


@pytest.mark.parametrize(
    ("answer", "cpu", "proposed"),
    [
        ("y", False, "CLIP_BACKEND=vit_b_32 FACE_RECOGNIZER=buffalo_l FACE_DETECTOR=scrfd_10g"),
        ("ViT-B-32__openai", True, "CLIP_BACKEND=vit_b_32 FACE_RECOGNIZER=buffalo_l FACE_DETECTOR=buffalo_l"),
        ("immich-app/ViT-B-16-SigLIP__webli", True, "CLIP_BACKEND=siglip FACE_RECOGNIZER=buffalo_l"),
    ],
)
def test_a_library_that_immich_has_indexed_gets_its_backend(
    host: PlannedHost, answer: str, cpu: bool, proposed: str
) -> None:
    done = host.run_in_terminal(f"y\n{answer}\ny\ny\n", "--no-start", *(["--cpu"] if cpu else []))
    assert done.code == 0, done.err
    assert ASKED in done.out
    assert f"Set it up with {proposed}" in done.err
    (started,) = (line for line in done.out.splitlines() if "$ docker run -d" in line)
    for word in proposed.split():
        assert f"-e {word} " in started
    assert started.count("-e CLIP_BACKEND=") == 1
    fetch = next(words for words in host.calls() if "fetch" in words)
    assert set(proposed.split()) <= set(fetch), "its files are fetched"


def test_a_new_library_gets_tinyclip_and_nothing_more(host: PlannedHost) -> None:
    done = host.run_in_terminal("y\n\ny\n", "--no-start")
    assert done.code == 0, done.err
    assert "Set it up with" not in done.err
    assert "-e CLIP_BACKEND=tinyclip --read-only" in done.out


def test_a_name_that_immich_does_not_know_is_asked_for_again(host: PlannedHost) -> None:
    done = host.run_in_terminal("y\nViT-B32\nn\ny\n", "--no-start")
    assert done.code == 0, done.err
    assert "Immich knows no CLIP model ViT-B32." in done.err
    assert "-e CLIP_BACKEND=tinyclip " in done.out


def test_what_somebody_has_set_stays(host: PlannedHost) -> None:
    done = host.run_in_terminal("y\ny\ny\ny\n", "--no-start", FACE_DETECTOR="scrfd_2.5g", FACE_RECOGNIZER="")
    assert done.code == 0, done.err
    assert "-e CLIP_BACKEND=vit_b_32 -e FACE_DETECTOR=scrfd_2.5g --read-only" in done.out


def test_no_answer_at_all(host: PlannedHost) -> None:
    done = host.run_in_terminal("y\n\x04", "--no-start")
    assert done.reason == "stopped; the worker was not changed."
    assert "CLIP_BACKEND=NAME ./setup.sh" in done.remedy


def test_a_proposal_can_be_declined(host: PlannedHost) -> None:
    done = host.run_in_terminal("y\ny\nn\n", "--no-start")
    assert done.reason == "stopped; the worker was not changed."
    assert "CLIP_BACKEND=… FACE_RECOGNIZER=… ./setup.sh" in done.remedy
    assert "fetch" not in host.changes()


@pytest.mark.parametrize("given", [{"CLIP_BACKEND": "tinyclip"}, {}])
def test_who_has_told_the_backend_is_not_asked_for_it(host: PlannedHost, given: dict[str, str]) -> None:
    """Nor is who has a worker already, nor who says yes to everything: that is a new library."""
    if not given:
        had(host, "CLIP_BACKEND=siglip")
    assert ASKED not in host.run_in_terminal("y\ny\n", "--no-start", **given).out
    host.change(containers={})
    done = host.run("--yes", "--no-start")
    assert ASKED not in done.out
    assert "docs/changing.md has those that keep that" in done.out
    assert "-e CLIP_BACKEND=tinyclip " in done.out


def test_an_8l_is_told_what_is_faster_there(host: PlannedHost) -> None:
    host.change(chip="hailo8l")
    done = host.run_in_terminal("y\nn\nn\n", "--no-start")
    assert "On this card (hailo8l) vit_b_32 is faster: 130 pictures a second" in done.out
    assert "Set it up with CLIP_BACKEND=tinyclip?" in done.err
    assert "vit_b_32 is faster: " in host.run("--yes", "--no-start").out
    assert "faster" not in host.run("--yes", "--no-start", "--clip-backend=vit_b_32").out


def test_the_default_that_the_shell_writes_down_is_the_worker_s(host: PlannedHost) -> None:
    assert f" CLIP_BACKEND={Settings().clip_backend}" in host.run("--dry-run").out


# ------------------------------------------------------------------------ note


def test_a_container_removed_by_hand_is_made_again_as_it_was(host: PlannedHost) -> None:
    chosen = {"CLIP_BACKEND": "siglip", "FACE_RECOGNIZER": "arcface_mobilefacenet", "IMMICH_PORT": "65000"}
    assert host.run("--yes", **chosen).code == 0
    first = host.ours
    host.change(containers={})
    done = host.run("--yes", IMMICH_PORT="")
    assert done.code == 0, done.err
    assert host.ours == first
    assert "as before: " in done.out
    assert f"(from {host.note}; delete that file to forget them)" in done.out
    host.change(containers={})
    asked = host.run("--dry-run", FACE_RECOGNIZER="").out
    assert "Until now it had FACE_RECOGNIZER=arcface_mobilefacenet." in asked
    host.note.unlink()
    assert "CLIP_BACKEND=tinyclip" in host.run("--dry-run", IMMICH_PORT="").out


def test_what_counts_first_is_given_then_the_container_then_the_note(host: PlannedHost) -> None:
    host.note.write_text("IMMICH_PORT=65000 CLIP_BACKEND=siglip HAILO_BATCH=2 DEVICE=/dev/hailo0 GROUP=0\n")
    assert "CLIP_BACKEND=siglip HAILO_BATCH=2\n" in host.run("--dry-run").out
    assert "CLIP_BACKEND=auto HAILO_BATCH=3\n" in host.run("--dry-run", "--clip-backend=auto", HAILO_BATCH="3").out
    had(host, "CLIP_BACKEND=siglip2")
    out = host.run("--dry-run").out
    assert "CLIP_BACKEND=siglip2\n" in out
    assert host.note.name not in out


@pytest.mark.parametrize("arguments", [["--dry-run"], ["--yes", "--no-start"]])
def test_nothing_is_noted_before_a_container_was_started(host: PlannedHost, arguments: list[str]) -> None:
    assert host.run(*arguments).code == 0
    assert not host.note.exists()
    host.fault("run -d", "no such runtime", 125)
    assert host.run("--yes").refused
    assert not host.note.exists()


def test_a_second_run_does_not_write_again_and_a_lost_note_is_written_again(host: PlannedHost) -> None:
    environment = {"IMMICH_PORT": "65000"}
    assert host.run("--yes", **environment).code == 0
    before = host.tree()
    assert host.run(**environment).code == 0
    assert host.tree() == before
    host.note.unlink()
    assert host.run(**environment).code == 0
    assert {name for name in host.tree() if Path(name).is_relative_to(host.checkout)} == {
        name for name in before if Path(name).is_relative_to(host.checkout)
    }


@pytest.mark.parametrize("text", ["", "CLIP_BACKEND=siglip $(reboot)\n", "CLIP_BACKEND=\n", "IMMICH_PORT=3003\n"])
def test_a_damaged_note(host: PlannedHost, text: str) -> None:
    host.note.write_text(text)
    done = host.run("--yes")
    assert done.refused
    assert done.reason == f"{host.note}, the settings of the last container, is damaged."
    assert f"rm -f '{host.note}'" in done.remedy
    assert host.changes() == []


def test_a_note_of_a_backend_that_is_no_more(host: PlannedHost) -> None:
    host.note.write_text("CLIP_BACKEND=clip\n")
    done = host.run("--yes")
    assert done.refused
    assert f"(from {host.note}; delete that file to forget them)" in done.out
    assert "CLIP_BACKEND=clip: it takes one of " in done.out
    assert host.changes() == []


def test_a_note_that_cannot_be_read(host: PlannedHost) -> None:
    host.note.mkdir()
    done = host.run("--yes")
    assert done.refused
    assert "cannot be read" in done.reason
    assert "forget them: rm -rf" in done.remedy


def test_the_note_is_of_this_host_alone() -> None:
    """Neither Git nor the builder sees it."""
    assert "/.setup-settings*" in (PROJECT / ".gitignore").read_text().splitlines()
    rules = [line for line in (PROJECT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"
    assert not any("setup" in rule for rule in rules)
