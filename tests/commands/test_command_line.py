"""What the commands say to somebody who meets them for the first time: help, refusals, ranges, order of work."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from simulated_card import DETECTOR, EMBEDDER

from ml_target.__main__ import COMMANDS, main
from ml_target.catalogue.networks import ARCFACE_R50, SCRFD_2_5G
from ml_target.config import Settings, setting_names
from ml_target.diagnostics import workbench
from ml_target.diagnostics.settings import reference
from ml_target.engines.onnx import OnnxEngine
from ml_target.remedies import command
from ml_target.runtime.assembly import Loader
from ml_target.tasks.contract import Offer
from ml_target.tasks.service import Service

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The processor, no models, no settings from outside."""
    for item in fields(Settings):
        for name in setting_names(item.name):
            monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("ENGINE", "cpu")
    monkeypatch.setenv("MODELS_DIR", str(folder))
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    Image.new("RGB", (64, 48), "#406080").save(file)
    return file


def ends(code: int, *arguments: str) -> None:
    """The command ends the process with this code."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == code


# ---------------------------------------------------------------------- help


def test_help_names_every_command(capsys: Capture) -> None:
    ends(0, "--help")
    out = capsys.readouterr().out
    for name in COMMANDS:
        assert f"\n  {name} " in out
    assert f"`{command('predict')} --help`" in out


def test_help_of_serve_says_what_it_does_and_every_setting(capsys: Capture) -> None:
    ends(0, "serve", "--help")
    out = capsys.readouterr().out
    assert "Serves Immich over HTTP" in out
    assert "Machine Learning Settings" in out
    assert f"CLIP_BACKEND=siglip IMMICH_PORT=3004 {command('serve')}" in out
    flat = " ".join(out.split())
    for item in fields(Settings):
        assert " or ".join(setting_names(item.name)) + " (default: " in flat
        assert item.metadata["help"] in flat
    assert "IMMICH_PORT (default: 3003) port to listen on; a whole number from 1 to 65535" in flat
    assert "ENGINE (default: auto)" in flat
    assert "one of auto, hailo, cpu" in flat
    assert "MODELS_DIR (default: models/ in this project's folder)" in flat


NEEDED = {"inspect": ("x.hef",), "compare": ("http://worker",), "calibrate": ("photos", "out")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_refuses_what_it_does_not_know(name: str, capsys: Capture) -> None:
    ends(0, name, "--help")
    told = capsys.readouterr()
    assert told.out.startswith((f"usage: {command(name)} ", f"usage: {command(name)}\n")), "a long path wraps"
    assert re.search("[Ee]xit (code|status):? [01]", told.out), "what it returns"
    assert "%(prog)" not in told.out
    ends(2, name, *NEEDED.get(name, ()), "--bogus")
    assert "--bogus; there are --help, -" in (words := capsys.readouterr().err) or "it takes no options" in words
    assert f". `{command(name)} --help` explains it" in words


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("predict", "x.jpg", "--tasks", "ocr"),
            ("--tasks", "--task", "--draw", f"{command('predict')} --help"),
        ),
        (("models", "--everything"), ("--everything", "--engine", "--all")),
        (("serve", "--port", "80"), ("--port 80", "environment variables", f"{command('serve')} --help")),
        (("--port", "80"), ("environment variables", f"{command('serve')} --help")),
        (("models", "remove"), ("'remove'", "'fetch'", f"{command('models')} --help")),
        (("inspect",), ("FILE", f"{command('inspect')} --help")),
        (("bogus",), ("there is no command bogus", "serve, predict, models", f"{command()} --help")),
    ],
)
def test_what_is_unknown_is_answered_with_what_there_is(
    arguments: tuple[str, ...], words: tuple[str, ...], capsys: Capture
) -> None:
    ends(2, *arguments)
    told = capsys.readouterr().err
    assert all(word in told for word in words), told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "name a photo, or a query with --text"),
        (("--text", " "), "--text is empty"),
        (("--text", "a dog", "--task", "ocr"), "--task is about a photo: name one"),
        (("--text", "a dog", "--draw", "x.png"), "--draw is about a photo: name one"),
        (("x.jpg", "--min-face-score", "1.01"), "--min-face-score: '1.01' is no score: it takes a number from 0 to 1"),
        (("x.jpg", "--min-face-score", "-0.1"), "'-0.1' is no score"),
        (("x.jpg", "--min-box-score", "nan"), "--min-box-score: 'nan' is no score"),
        (("x.jpg", "--min-text-score", "70%"), "--min-text-score: '70%' is no score"),
        (("x.jpg", "--max-resolution", "0"), "--max-resolution: '0' is no resolution: it takes whole pixels from 1"),
        (("x.jpg", "--max-resolution", "7e2"), "'7e2' is no resolution"),
        (("x.jpg", "--max-resolution", "1000001"), "'1000001' is no resolution"),
        (("x.jpg", "--max-resolution", "²"), "'²' is no resolution"),
    ],
)
def test_predict_refuses_arguments_in_words(arguments: tuple[str, ...], words: str, capsys: Capture) -> None:
    ends(2, "predict", *arguments)
    assert words in capsys.readouterr().err


# ------------------------------------------------------------- order of work


@pytest.fixture
def nothing_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    def loads(*_: object) -> None:
        pytest.fail("something was loaded")

    monkeypatch.setattr(workbench, "open_places", loads)


@pytest.mark.usefixtures("nothing_loads")
def test_the_photo_is_checked_before_anything_is_loaded(tmp_path: Path, photo: Path, capsys: Capture) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(photo.read_bytes()[:60])
    text = tmp_path / "photo.jpg"
    text.write_text("this is no picture")
    for file, words in (
        (tmp_path / "none.jpg", "cannot be read (No such file or directory). Name a picture file."),
        (tmp_path, "is not a file. Name a picture file."),
        (Path("/dev/zero"), "is not a file. Name a picture file."),
        (text, "not a picture this worker can read"),
        (cut, "picture"),
    ):
        assert main(["predict", str(file)]) == 1
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        assert words in told


@pytest.mark.usefixtures("nothing_loads")
def test_so_is_where_the_drawing_goes(tmp_path: Path, photo: Path, capsys: Capture) -> None:
    before = photo.read_bytes()
    for out, words in (
        (tmp_path / "out", "does not say which kind of picture to write. Name a .jpg or .png"),
        (tmp_path / "out.txt", "does not say which kind of picture to write"),
        (tmp_path / "none" / "out.png", "cannot be written. Name a .jpg or .png in a folder that can be written"),
        (photo, "is the photo itself, which a drawing must not replace"),
    ):
        assert main(["predict", str(photo), "--draw", str(out)]) == 1
        assert words in capsys.readouterr().err
    assert photo.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (("PHOTO", "--task", "clip"), ["clip.visual"]),
        (("PHOTO", "--task", "faces"), ["facial-recognition"]),
        (("PHOTO", "--task", "ocr"), ["ocr"]),
        (("PHOTO",), ["clip.visual", "facial-recognition", "ocr"]),
        (("--text", "a dog"), ["clip.textual"]),
        (("PHOTO", "--task", "ocr", "--text", "a dog"), ["clip.textual", "ocr"]),
    ],
)
def test_only_what_is_asked_for_is_loaded(
    arguments: tuple[str, ...], asked: list[str], photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    loaded: list[str] = []
    really = Loader.service

    def noted(self: Loader, offer: Offer[Any]) -> Service[Any]:
        loaded.append(offer.name)
        return really(self, offer)

    monkeypatch.setattr(Loader, "service", noted)
    assert main(["predict", *(str(photo) if word == "PHOTO" else word for word in arguments)]) == 1
    assert loaded == asked
    told = capsys.readouterr()
    assert told.err.count("not answered: ") == len(asked), "the folder is empty"
    assert told.out == ""


def test_files_of_another_task_are_not_opened(
    plain: Path,
    photo: Path,
    small_face_models: Path,
    wheel_models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    """A damaged file of one task does not keep another from answering; the JSON is one object for the photo."""
    for file in wheel_models.iterdir():
        (plain / file.name).symlink_to(file.resolve())
    for network, name in ((SCRFD_2_5G, DETECTOR), (ARCFACE_R50, EMBEDDER)):
        (plain / network.onnx[0].name).symlink_to(small_face_models / name)
    (plain / "ppocrv5_mobile_det.onnx").unlink()
    (plain / "ppocrv5_mobile_det.onnx").write_bytes(b"\x08\x07nonsense")
    opened: list[str] = []
    really = OnnxEngine.open

    def noted(self: OnnxEngine, file: Path, network: Any) -> Any:
        opened.append(network.name)
        return really(self, file, network)

    monkeypatch.setattr(OnnxEngine, "open", noted)
    assert main(["predict", str(photo), "--task", "faces", "--json"]) == 0
    assert opened == ["scrfd_2.5g", "arcface_r50"]
    assert json.loads(capsys.readouterr().out) == {"facial-recognition": [], "imageHeight": 48, "imageWidth": 64}
    assert main(["predict", str(photo), "--task", "faces", "--task", "ocr", "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out) == {"facial-recognition": [], "imageHeight": 48, "imageWidth": 64}
    assert "not answered: " in told.err
    assert "ppocrv5_mobile_det.onnx" in told.err


def test_every_setting_is_named_once_in_the_help() -> None:
    names = re.findall(r"^  (\S+(?: or \S+)*) \(default: ", reference(), re.MULTILINE)
    assert names == [" or ".join(setting_names(item.name)) for item in fields(Settings)]
    assert np.all([len(line) <= 100 for line in reference().splitlines()])


def test_a_python_without_the_packages_is_told_in_words(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """As the host's own, in a checkout; what is missing of the project itself is no such thing."""

    def lacks(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {lacking!r}", name=lacking)

    monkeypatch.setattr("ml_target.__main__.import_module", lacks)
    lacking = "numpy"
    assert main(["hailort", "fetch"]) == 1
    said = capsys.readouterr().err
    assert "has no package numpy. ./setup.sh serve puts" in said
    lacking = "ml_target.store.gone"
    with pytest.raises(ModuleNotFoundError):
        main(["hailort", "fetch"])
