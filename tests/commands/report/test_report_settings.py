"""What the report says of settings and model files."""

import re
import sys
from pathlib import Path

import pytest

from ml_target.config import Settings
from ml_target.diagnostics.redact import Redactor
from ml_target.diagnostics.report.model_files import model_files
from ml_target.diagnostics.report.settings import settings_section
from ml_target.diagnostics.settings import Environment


def test_wrong_settings_are_told_and_the_rest_is_used() -> None:
    given = {
        "ENGINE": "gpu", "IMMICH_PORT": "3010", "MAX_FACES": "-1", "HF_TOKEN": "secret-token",
        "CLIP_BACKENDS": "siglip", "MODELS_MIRROR": "https://me:pw@files.lan/x", "EDITOR": "vim", "LOG_LEVEL": "loud",
    }  # fmt: skip
    read = Environment.read(given)
    assert read.settings.port == 3010
    assert read.settings.engine == "auto"
    assert len(read.problems) == 2
    assert "ENGINE" not in read.usable
    assert read.usable["MODELS_MIRROR"] == given["MODELS_MIRROR"]
    told = settings_section(read, given)
    assert [words.split(":")[0] for words in told.wrong] == ["settings", "settings", "settings"]
    assert told.wrong[2] == (
        "settings: CLIP_BACKENDS has no effect: there is no such setting. CLIP_BACKEND was meant, perhaps."
    )
    assert "auto, hailo, cpu" in told.wrong[0]
    text = Redactor().clean(told.text)
    assert "ENGINE=gpu    (WRONG)" in text
    assert "LOG_LEVEL=loud    (taken as info)" in text
    assert "IMMICH_PORT=3010\n" in text
    assert "MODELS_MIRROR=https://***@<host>/x" in text
    assert "no settings of these names:\nCLIP_BACKENDS=siglip\nHF_TOKEN=***" in text
    assert "EDITOR" not in text
    for secret in ("secret-token", "me:pw", "files.lan"):
        assert secret not in text


def test_model_files_with_hashes_and_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "ppocrv5_dict.txt").write_text("a\nb\n")
    (folder / "mine.hef").write_bytes(b"abc")
    told = model_files(Settings(engine="cpu", models_dir=folder))
    assert re.search(r"ocr +damaged .* ppocrv5_dict\.txt", told.text)
    assert re.search(r"faces +MISSING +scrfd_2\.5g\.onnx", told.text)
    assert re.search(r" 3  ba7816bf8f01cfea  mine\.hef", told.text)
    assert any("ppocrv5_dict.txt" in words for words in told.wrong)
    assert "model files are missing, so their tasks are off. Fetch them: " in told.wrong[-1]


def test_model_files_without_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.hef").write_bytes(b"abc")
    monkeypatch.setitem(sys.modules, "ml_target.store.inventory", None)
    told = model_files(Settings(engine="cpu", models_dir=tmp_path))
    assert "ba7816bf8f01cfea  mine.hef" in told.text
    assert told.wrong[0].startswith("model files: ModuleNotFoundError")
