"""Which text models a setting means, what they need, and where the alphabet of one comes from."""

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from needed import needed_files

from ml_target.catalogue import networks
from ml_target.catalogue.needs import EngineName, engine_of, needs, settled
from ml_target.catalogue.networks import NETWORKS, OCR_RECOGNITION_V6, PPOCRV5_MOBILE, PPOCRV6_SMALL, TEXT_MODELS
from ml_target.config import Settings
from ml_target.diagnostics.clients import tasks_on
from ml_target.diagnostics.names import text_lines
from ml_target.engines import select
from ml_target.errors import DamagedFileError, ModelError, SettingsError
from ml_target.tasks.ocr.alphabets import alphabet_of, characters_in

V5_CPU = ["ppocrv5_mobile_det.onnx", "ppocrv5_mobile_rec.onnx", "ppocrv5_dict.txt"]
V5_CARD = ["paddle_ocr_v5_mobile_detection.hef", "paddle_ocr_v5_mobile_recognition.hef", "ppocrv5_dict.txt"]
V6 = ["ppocrv6_small_det.onnx", "ppocrv6_small_rec.onnx"]


def settings(model: str) -> Settings:
    return Settings.from_environment({"OCR_MODEL": model})


def wanted(model: str, engine: EngineName, there: list[str] | None = None) -> list[str]:
    """The files of the text models; with `auto` by those that are `there`."""
    chosen = settled(settings(model), engine, "hailo8", lambda file: file.name in (there or []))
    return [need.files[0].name for need in needs(chosen, engine) if need.label.startswith("ocr")]


# ------------------------------------------------------------------ setting


def test_left_out_it_is_what_it_was() -> None:
    assert Settings.from_environment({}).ocr_model == "ppocrv5_mobile"
    assert wanted("ppocrv5_mobile", "cpu") == V5_CPU
    assert wanted("ppocrv5_mobile", "hailo") == V5_CARD
    assert {need.service for need in needs(Settings(), "cpu") if need.label == "ocr"} == {"ocr"}


def test_one_or_several() -> None:
    assert wanted("PPOCRv6_small", "cpu") == wanted("ppocrv6_small", "hailo") == V6, "on the processor on any host"
    assert wanted("ppocrv6_small, ppocrv5_mobile", "hailo") == V5_CARD + V6
    assert {need.engine for need in needs(settings("ppocrv6_small"), "hailo") if "v6" in need.files[0].name} == {"cpu"}
    assert engine_of(OCR_RECOGNITION_V6, Settings(), "hailo") == "cpu"
    assert set(V6) <= {file.name for _, file in needed_files(settings("ppocrv6_small"), "hailo")}, "so they are fetched"


@pytest.mark.parametrize("value", ["ppocrv6_tiny", "auto,ppocrv6_small", "PP-OCRv6_small"])
def test_what_is_none_is_refused_with_what_there_is(value: str) -> None:
    with pytest.raises(SettingsError, match=r"OCR_MODEL=.*: it takes one of ppocrv5_mobile, ppocrv6_small or auto"):
        settings(value)


def test_auto_is_what_is_there_and_fetches_nothing_else() -> None:
    assert wanted("auto", "cpu", V6) == V6
    assert wanted("auto", "cpu", V5_CPU + V6) == V5_CPU + V6
    assert wanted("auto", "hailo", V5_CARD + V6) == V5_CARD + V6
    assert wanted("auto", "hailo", V5_CPU + V6) == V6, "no HEF is there"
    assert wanted("auto", "cpu", V6[:1]) == wanted("auto", "cpu", []) == V5_CPU, "the default, where none is whole"


@pytest.mark.parametrize("value", ["ppocrv5_mobile,twin", "auto"])
def test_two_that_would_answer_for_one_name_are_refused_with_the_choices(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TEXT_MODELS, "twin", replace(PPOCRV6_SMALL, name="twin", answers_for=("PP-OCRv5_server",)))
    monkeypatch.delitem(TEXT_MODELS, "ppocrv6_small")
    assert networks.CHOICES["ocr_model"] is TEXT_MODELS
    with pytest.raises(SettingsError, match=f"OCR_MODEL={value}: ppocrv5_mobile and twin would both answer") as refused:
        settled(settings(value), "cpu", "hailo8", lambda file: True)
    assert refused.value.remedy == "Set one of them: OCR_MODEL=ppocrv5_mobile or OCR_MODEL=twin."


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            "ppocrv6_small",
            "ocr: detection runs on the processor, because OCR_MODEL=ppocrv6_small is set: nobody ",
        ),
        (
            "auto",
            "ocr: detection by ppocrv6_small runs on the processor if its file is there (OCR_MODEL=auto): ",
        ),
    ],
)
def test_beside_a_card_it_is_announced(
    value: str, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(select, "card", lambda settings: SimpleNamespace(name="hailo"))
    caplog.set_level(logging.INFO)
    engine, beside = select.choose_engines(replace(settings(value), engine="hailo"))
    assert (engine.name, beside.name) == ("hailo", "cpu")
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith(words)
    assert second == first.replace("detection", "recognition")


# ------------------------------------------------------------------- people


def test_what_to_type_into_immich() -> None:
    assert text_lines("ppocrv5_mobile") == [], "Immich's default"
    assert text_lines("ppocrv6_small") == ["OCR model   PP-OCRv6_small"]
    assert text_lines("ppocrv5_mobile,ppocrv6_small") == ["OCR model   PP-OCRv5_mobile or PP-OCRv6_small"]
    assert text_lines("auto") == ["OCR model   the name of a model whose files are there: /status lists them"]


def test_probes_ask_for_the_served_name() -> None:
    status: dict[str, Any] = {"tasks": {"ocr": {"on": True}}, "ocr": [{"immich_name": "PP-OCRv6_small"}]}
    on, off = {"immich_name": "PP-OCRv6_small", "on": True}, {"immich_name": "another", "on": False}
    pages = [(status, "PP-OCRv6_small"), ({"tasks": status["tasks"]}, "PP-OCRv5_mobile")]
    pages += [({**status, "ocr": [off, on]}, "PP-OCRv6_small"), ({**status, "ocr": [off]}, "another")]
    for page, name in pages:
        [(_, entries)] = tasks_on(page)
        assert entries == {"ocr": {"detection": {"modelName": name}, "recognition": {"modelName": name}}}


def test_models_and_networks_agree() -> None:
    for name, model in TEXT_MODELS.items():
        both = (model.detection, model.recognition)
        assert all(network in NETWORKS and network.choice == name == model.name for network in both)
        assert {network.setting for network in both} == {"ocr_model"}
    variants = [model.detection.variant for model in TEXT_MODELS.values()]
    assert len(variants) == len(set(variants)), "a service tells its model by it"
    assert PPOCRV5_MOBILE.detection.variant == "", "its service is called ocr, as ever"


# ----------------------------------------------------------------- alphabet


def field(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes; lengths below 2 ** 21."""
    size = len(content)
    return bytes([number << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + content


def onnx(folder: Path, **metadata: bytes) -> Path:
    """A file that has nothing but metadata."""
    entries = [field(14, field(1, key.encode()) + field(2, value)) for key, value in metadata.items()]
    path = folder / "recogniser.onnx"
    path.write_bytes(field(2, b"somebody") + b"".join(entries))
    return path


def loading(file: Path) -> Any:
    return SimpleNamespace(engine=lambda network: None, network_file=lambda network, engine: file)


def test_the_alphabet_is_read_from_the_file(tmp_path: Path) -> None:
    letters = [chr(0x4E00 + n) for n in range(networks.OCR_V6_CLASSES - 2)]
    file = onnx(tmp_path, language=b"x", character="\n".join(letters).encode())
    alphabet = alphabet_of(OCR_RECOGNITION_V6, loading(file))
    assert alphabet.symbols == ("", *letters, " ")


def test_a_file_without_its_characters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"recogniser.onnx carries no list of characters") as refused:
        characters_in(onnx(tmp_path, language=b"x"))
    assert "replace it with the catalogue's file" in refused.value.remedy
    short = onnx(tmp_path, character=b"a\nb")
    with pytest.raises(ModelError, match=r"recogniser.onnx's list of characters has 2 characters where 18,708"):
        alphabet_of(OCR_RECOGNITION_V6, loading(short))


@pytest.mark.parametrize("content", [b"", b"\xff\xff\xff", field(14, b"\x0a\xff\x7f")])
def test_a_file_that_is_none_is_damaged(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "recogniser.onnx"
    file.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"recogniser.onnx cannot be read"):
        characters_in(file)
    file.unlink()
    with pytest.raises(DamagedFileError, match=r"recogniser.onnx cannot be read"):
        characters_in(file)
