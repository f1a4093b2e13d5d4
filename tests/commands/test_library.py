"""Which settings keep what Immich's own worker has indexed, and what a new library is told about its name."""

import pytest

from ml_target.__main__ import main as main_command
from ml_target.catalogue.immich import WIDTHS, clean_name
from ml_target.catalogue.networks import CLIP_BACKENDS, TINYCLIP, with_baked
from ml_target.catalogue.types import CHIPS, Chip
from ml_target.config import Settings
from ml_target.diagnostics.library import main, propose
from ml_target.diagnostics.names import faster, lines
from ml_target.tasks.clip.names import backend_for


@pytest.mark.parametrize("answer", ["", "n", "No", " n "])
def test_a_new_library_gets_the_default_and_is_told_nothing(answer: str) -> None:
    assert propose(answer, "hailo") == propose(answer, "cpu", "hailo8")
    assert propose(answer, "hailo").settings == {"CLIP_BACKEND": Settings().clip_backend}
    assert propose(answer, "hailo").words == ()


@pytest.mark.parametrize("answer", ["y", "YES", "ViT-B-32__openai", " immich-app/ViT-B-32__openai\n"])
def test_the_library_of_immich_s_default_worker(answer: str) -> None:
    networks = {"CLIP_BACKEND": "vit_b_32", "FACE_RECOGNIZER": "buffalo_l"}
    assert propose(answer, "hailo").settings == networks | {"FACE_DETECTOR": "scrfd_10g"}
    assert propose(answer, "cpu").settings == networks | {"FACE_DETECTOR": "buffalo_l"}


@pytest.mark.parametrize("name", WIDTHS)
def test_every_name_of_immich_gets_settings_that_are_right(name: str) -> None:
    """The backend of its own space, or the word that there is none."""
    proposal = propose(name, "hailo")
    settings = Settings.from_environment(proposal.settings)
    own = [b for b in CLIP_BACKENDS.values() if clean_name(b.immich_name) == name and not b.borrows_name]
    assert settings.face_recognizer == "buffalo_l"
    if own:
        assert settings.clip_backend == own[0].name
        assert backend_for(name, own) is own[0]
        assert ("SIGLIP_RESIZE=shortest" in " ".join(proposal.words)) == own[0].resize_by_setting
    else:
        assert settings.clip_backend == Settings().clip_backend
        assert f"No backend here has the vectors of {name}" in proposal.words[0]


def test_what_immich_does_not_know_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["my model"]) == 1
    assert capsys.readouterr().err.startswith('Immich knows no CLIP model "my model". Copy the name from Immich')


def test_the_first_line_is_the_settings(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "cpu")
    assert main(["--chip", "hailo8l", "--", "y"]) == 0
    settings, *words = capsys.readouterr().out.splitlines()
    assert settings == "CLIP_BACKEND=vit_b_32 FACE_RECOGNIZER=buffalo_l FACE_DETECTOR=buffalo_l"
    assert "docs/changing.md" in " ".join(words)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "CLIP_BACKEND=vit_b_32 FACE_RECOGNIZER=buffalo_l FACE_DETECTOR=buffalo_l can keep searches and people"),
        ({"CLIP_BACKEND": ""}, "If not, CLIP_BACKEND=tinyclip says so for good."),
        ({"ENGINE": "hailo"}, "FACE_DETECTOR=scrfd_10g can keep"),
        ({"CLIP_BACKEND": "tinyclip"}, ""),
        ({"CLIP_BACKEND": "vit_b_32"}, ""),
    ],
)
def test_a_start_that_nobody_was_asked_about_tells_the_question(
    given: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the log of `serve`, as after `./setup.sh serve`, until somebody names a backend; other commands are silent."""
    for name, value in {"ENGINE": "cpu", **given}.items():
        monkeypatch.setenv(name, value)
    if "CLIP_BACKEND" not in given:
        monkeypatch.delenv("CLIP_BACKEND", raising=False)
    for module in ("ml_target.api.serve", "ml_target.diagnostics.doctor"):
        monkeypatch.setattr(f"{module}.run", lambda *_: 0)
    assert main_command(["serve"]) == 0
    shown = capsys.readouterr()
    assert told in shown.out + shown.err
    assert ("as for a new library" in shown.out + shown.err) == bool(told)
    assert main_command(["doctor"]) == 0
    assert "new library" not in capsys.readouterr().err


# -------------------------------------------------------------------- names


def test_tinyclip_s_new_libraries_get_a_name_that_nobody_else_serves() -> None:
    told = " ".join(" ".join(lines("tinyclip")).split())
    assert "For a new library: RN101__yfcc15m, which no worker of Immich serves by default." in told
    assert "a change of name deletes all of them" in told
    assert WIDTHS[TINYCLIP.new_library_name] == TINYCLIP.width
    assert TINYCLIP.new_library_name not in {b.immich_name for b in CLIP_BACKENDS.values()}
    assert [b for b in CLIP_BACKENDS.values() if bool(b.new_library_name) != b.borrows_name] == []


@pytest.mark.parametrize(
    ("backends", "chip", "words"),
    [
        ("tinyclip", "hailo8l", "vit_b_32 is faster: 130 pictures a second by Hailo's figures, tinyclip 96."),
        ("tinyclip,siglip", "hailo8l", "figures, tinyclip 96, siglip 15."),
        ("vit_b_32", "hailo8l", ""),
        ("siglip2", "hailo8l", ""),
        ("auto", "hailo8l", ""),
        ("tinyclip", "hailo8", ""),
    ],
)
def test_what_is_faster_on_a_card(backends: str, chip: Chip, words: str) -> None:
    assert chip in CHIPS
    assert words in faster(backends, chip)
    assert bool(faster(backends, chip)) == bool(words)


@pytest.mark.parametrize(
    ("choice", "held"),
    [
        ("tinyclip", ("tinyclip", "siglip")),
        ("siglip", ("siglip", "tinyclip")),
        ("siglip2,vit_b_16", ("siglip2", "vit_b_16", "tinyclip", "siglip")),
        ("vit_b_32", ("vit_b_32", "siglip")),
        ("auto", ("auto",)),
    ],
)
def test_what_the_image_for_a_card_holds(choice: str, held: tuple[str, ...]) -> None:
    """Never two of one name in Immich: with CLIP_BACKEND=auto the worker would not start."""
    assert with_baked(choice) == held
