"""Text models by name: which one answers; those of another script are refused before a picture is looked at."""

import string
from pathlib import Path

import pytest
from pictures import picture
from serving import FakeTasks, fake_services, live
from wire import ask

from ml_target.catalogue import files
from ml_target.catalogue.networks import PPOCRV5_MOBILE, PPOCRV6_SMALL, TEXT_MODELS
from ml_target.catalogue.scripts import LANGUAGES
from ml_target.catalogue.types import TextModel
from ml_target.errors import UnusableInput
from ml_target.tasks.ocr.alphabets import characters_in
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.names import text_model

OFFERED = (
    "PP-OCRv5_server",
    "PP-OCRv5_mobile",
    "EN__PP-OCRv5_mobile",
    "EL__PP-OCRv5_mobile",
    "KOREAN__PP-OCRv5_mobile",
    "LATIN__PP-OCRv5_mobile",
    "ESLAV__PP-OCRv5_mobile",
    "TH__PP-OCRv5_mobile",
    "CH__PP-OCRv5_mobile",
    "CH__PP-OCRv5_server",
    "PP-OCRv6_tiny",
    "PP-OCRv6_small",
    "PP-OCRv6_medium",
)
"""The names that Immich's settings offer, and the two more that its own worker knows."""

V5, V6 = [PPOCRV5_MOBILE], [PPOCRV6_SMALL]
BOTH = [*V5, *V6]
ANSWERED = {
    "PP-OCRv5_mobile": PPOCRV5_MOBILE,
    "PP-OCRv5_server": PPOCRV5_MOBILE,
    "EN__PP-OCRv5_mobile": PPOCRV5_MOBILE,
    "CH__PP-OCRv5_mobile": PPOCRV5_MOBILE,
    "CH__PP-OCRv5_server": PPOCRV5_MOBILE,
    "PP-OCRv6_tiny": PPOCRV6_SMALL,
    "PP-OCRv6_small": PPOCRV6_SMALL,
    "PP-OCRv6_medium": PPOCRV6_SMALL,
}
SERVED = pytest.mark.parametrize("served", [V5, V6, BOTH], ids=["v5", "v6", "both"])
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
LATIN = {
    "French": "àâæçéèêëîïôœùûüÿÀÂÆÇÉÈÊËÎÏÔŒÙÛÜŸ",
    "Polish": "ąćęłńóśźżĄĆĘŁŃÓŚŹŻ",
    "Turkish": "çğıİöşüÇĞÖŞÜ",
    "Czech and Slovak": "áčďéěíňóřšťúůýžĺľŕäôÁČĎÉĚÍŇÓŘŠŤÚŮÝŽĹĽŔÄÔ",
    "Hungarian": "áéíóöőúüűÁÉÍÓÖŐÚÜŰ",
    "Romanian": "ăâîșțĂÂÎȘȚ",
    "Icelandic": "áðéíóúýþæöÁÐÉÍÓÚÝÞÆÖ",
    "Latvian and Lithuanian": "āčēģīķļņšūžĀČĒĢĪĶĻŅŠŪŽąčęėįšųūžĄČĘĖĮŠŲŪŽ",
    "Spanish and Portuguese": "ñáéíóúü¿ãõçÑÁÉÍÓÚÜÃÕÇ",
    "Scandinavian": "åäöøæÅÄÖØÆ",
    "German": "äöüßÄÖÜ",
}
"""What the documents promise of PP-OCRv6."""


def entries(name: str) -> dict[str, object]:
    return {"ocr": {"detection": {"modelName": name}, "recognition": {"modelName": name}}}


@pytest.fixture(scope="module")
def letters(wheel_models: Path) -> set[str]:
    """What the served network can spell."""
    return set(Alphabet.from_file(wheel_models / files.OCR_DICTIONARY.name).symbols)


@pytest.fixture(scope="module")
def letters_v6(v6_models: Path) -> set[str]:
    """What PP-OCRv6 can spell."""
    return set(characters_in(v6_models / files.OCR_RECOGNITION_V6_SMALL.name).decode().split("\n"))


def test_what_is_answered_can_be_spelled(letters: set[str], letters_v6: set[str]) -> None:
    for language, needed in NEEDED.items():
        assert not set(needed) - letters, language
    for language, needed in {**NEEDED, **LATIN}.items():
        assert not set(needed) - letters_v6 - set(OBSOLETE), language


@pytest.mark.parametrize("name", sorted(LANGUAGES))
def test_what_is_refused_cannot_be_spelled(letters: set[str], letters_v6: set[str], name: str) -> None:
    reading = LANGUAGES[name]
    assert not set(reading.lacks) & (letters | letters_v6)
    assert not reading.lacks or len(set(reading.lacks)) >= 3
    assert not set(reading.others_lack) & letters
    assert bool(reading.nearest) == (len(set(reading.others_lack) & letters_v6) >= 3)


@SERVED
@pytest.mark.parametrize("name", OFFERED)
def test_every_name_that_immich_offers(name: str, served: list[TextModel]) -> None:
    model = ANSWERED.get(name)
    if model in served:
        assert text_model(name, served) is model
        return
    with pytest.raises(UnusableInput) as refusal:
        text_model(name, served)
    words = str(refusal.value)
    assert words.startswith(f"Immich asks for {name}, which reads ")
    (choice,) = {each.immich_name for each in served} if len(served) == 1 else {"PP-OCRv5_mobile"}
    assert f"Choose {choice} in Immich's OCR settings" in words
    assert ("would answer with look-alikes. Choose" in words) == (model is None)
    if model is not None:
        assert words.endswith(f", or start the worker with OCR_MODEL={model.name}.")


def test_the_refusal_of_latin_letters_names_the_model_that_has_most_of_them() -> None:
    with pytest.raises(UnusableInput, match=r"lacks letters of these \(ï œ") as refusal:
        text_model("LATIN__PP-OCRv5_mobile", V5)
    assert "or start the worker with OCR_MODEL=ppocrv6_small and choose PP-OCRv6_small, which" in refusal.value.remedy
    with pytest.raises(UnusableInput, match=r"lacks letters of these \(ạ") as refusal:
        text_model("LATIN__PP-OCRv5_mobile", BOTH)
    assert "OCR_MODEL" not in refusal.value.remedy


def test_no_two_models_answer_for_one_name() -> None:
    names = [name for model in TEXT_MODELS.values() for name in model.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "name",
    [
        "CYRILLIC__PP-OCRv5_mobile",
        "ARABIC__PP-OCRv5_server",
        "immich-app/LATIN__PP-OCRv5_mobile",
        "latin__PP-OCRv5_mobile",
        "LATIN__some.new.model",
        "XX__PP-OCRv5_mobile",
        "__PP-OCRv5_mobile",
        "EN__KOREAN__PP-OCRv5_mobile",
    ],
)
@SERVED
def test_further_names_of_other_scripts(name: str, served: list[TextModel]) -> None:
    with pytest.raises(UnusableInput, match=r"Choose PP-OCRv\w+ in Immich's OCR settings"):
        text_model(name, served)


@pytest.mark.parametrize("name", ["", "PP-OCRv9_huge", "EN__PP-OCRv9_huge", "immich-app/PP-OCRv5_mobile", "anything"])
def test_names_that_promise_no_other_script_are_ignored(name: str) -> None:
    assert text_model(name, V5) is PPOCRV5_MOBILE


@pytest.mark.parametrize("name", ["", "PP-OCRv9_huge", "EN__PP-OCRv9_huge", "anything"])
def test_an_unknown_name_is_for_the_only_one_and_for_none_of_two(name: str) -> None:
    assert text_model(name, V6) is PPOCRV6_SMALL
    with pytest.raises(UnusableInput, match="serves 2 text models that it could mean") as refusal:
        text_model(name, BOTH)
    assert refusal.value.remedy == (
        "Choose PP-OCRv5_mobile or PP-OCRv6_small in Immich's OCR settings, or start the worker with one OCR_MODEL."
    )


@pytest.mark.parametrize("form", ["EN__{}", "CH__{}", "immich-app/{}", " {} "])
def test_the_forms_of_a_name(form: str) -> None:
    for model in BOTH:
        assert text_model(form.format(model.immich_name), BOTH) is model


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
