"""Text models of another script: refused by name, with words, before a picture is looked at."""

import string
from pathlib import Path

import pytest
from pictures import picture
from serving import FakeTasks, fake_services, live
from wire import ask

from ml_target.catalogue import files
from ml_target.catalogue.scripts import LANGUAGES, MODELS, OFFERED
from ml_target.errors import UnusableInput
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.names import text_model

ANSWERED = {
    "PP-OCRv5_mobile",
    "PP-OCRv5_server",
    "EN__PP-OCRv5_mobile",
    "CH__PP-OCRv5_mobile",
    "CH__PP-OCRv5_server",
}
OBSOLETE = "ゐヱ"
"""Out of use since 1946, and not in the dictionary."""

KANA = "".join(
    chr(code) for block in (range(0x3041, 0x3094), range(0x30A1, 0x30F7)) for code in block if chr(code) not in OBSOLETE
)
NEEDED = {
    "English": string.ascii_letters + string.digits + string.punctuation,
    "Japanese": KANA + "ー々「」、。・日本語東京駅",
    "Chinese": "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生",
    "traditional Chinese": "臺灣國語學體發開關門車馬鳥魚",
}


def entries(name: str) -> dict[str, object]:
    return {"ocr": {"detection": {"modelName": name}, "recognition": {"modelName": name}}}


@pytest.fixture(scope="module")
def letters(wheel_models: Path) -> set[str]:
    """What the served network can spell."""
    return set(Alphabet.from_file(wheel_models / files.OCR_DICTIONARY.name).symbols)


def test_what_is_answered_can_be_spelled(letters: set[str]) -> None:
    for language, needed in NEEDED.items():
        assert not set(needed) - letters, language


@pytest.mark.parametrize("name", sorted({**MODELS, **LANGUAGES}))
def test_what_is_refused_cannot_be_spelled(letters: set[str], name: str) -> None:
    reading = (MODELS | LANGUAGES)[name]
    assert not set(reading.lacks) & letters
    assert not reading.lacks or len(set(reading.lacks)) >= 3


@pytest.mark.parametrize("name", OFFERED)
def test_every_name_that_immich_offers(name: str) -> None:
    if name in ANSWERED:
        assert text_model(name) == "PP-OCRv5_mobile"
        return
    with pytest.raises(UnusableInput) as refusal:
        text_model(name)
    words = str(refusal.value)
    assert words.startswith(f"Immich asks for {name}, which reads ")
    assert "would answer with look-alikes. Choose PP-OCRv5_mobile in Immich's OCR settings" in words


@pytest.mark.parametrize(
    "name",
    [
        "CYRILLIC__PP-OCRv5_mobile",
        "ARABIC__PP-OCRv5_server",
        "PP-OCRv6_small",
        "EN__PP-OCRv6_small",
        "immich-app/LATIN__PP-OCRv5_mobile",
        "latin__PP-OCRv5_mobile",
        "LATIN__some.new.model",
        "XX__PP-OCRv5_mobile",
        "__PP-OCRv5_mobile",
        "EN__KOREAN__PP-OCRv5_mobile",
    ],
)
def test_further_names_of_other_scripts(name: str) -> None:
    with pytest.raises(UnusableInput, match="Choose PP-OCRv5_mobile in Immich's OCR settings"):
        text_model(name)


@pytest.mark.parametrize("name", ["", "PP-OCRv9_huge", "EN__PP-OCRv9_huge", "immich-app/PP-OCRv5_mobile", "anything"])
def test_names_that_promise_no_other_script_are_ignored(name: str) -> None:
    assert text_model(name) == "PP-OCRv5_mobile"


def test_refused_before_the_picture_is_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    tasks = FakeTasks()
    with live(lambda _: fake_services(tasks)) as (client, worker):
        for content in (picture(), b"no picture at all"):
            answer = ask(client, entries("ESLAV__PP-OCRv5_mobile"), content)
            assert answer.status_code == 400
            assert "which reads Russian, Belarusian, Ukrainian and English" in answer.json()["detail"]
        assert not tasks.options
        assert not worker.names.describe()
        for _ in range(2):
            assert ask(client, entries("EN__PP-OCRv5_mobile")).status_code == 200
        assert worker.status()["names"] == [
            {"task": "ocr", "asked": "EN__PP-OCRv5_mobile", "served_by": "PP-OCRv5_mobile"}
        ]
    assert caplog.text.count("Immich asks for EN__PP-OCRv5_mobile as ocr; it is answered by PP-OCRv5_mobile") == 1


def test_another_task_of_the_same_request_is_refused_with_it() -> None:
    """One answer, one status: nothing half-done is a 2xx."""
    tasks = FakeTasks()
    with live(lambda _: fake_services(tasks)) as (client, _worker):
        clip = {"clip": {"visual": {"modelName": "ViT-B-32__openai"}}}
        assert ask(client, {**clip, **entries("TH__PP-OCRv5_mobile")}).status_code == 400
        assert tasks.finished == 0
