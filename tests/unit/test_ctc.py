"""Classes to text: RapidOCR's decoder on random and real-looking rows, and the dictionary."""

from pathlib import Path

import numpy as np
import pytest
from rapidocr_reference import RapidOcr

from ml_target.catalogue.networks import OCR_CLASSES
from ml_target.errors import DamagedFileError, EngineFault, ModelError
from ml_target.tasks.ocr.ctc import Alphabet, decode, read_glyphs
from ml_target.tensors import Array, Float32, Tensor

RANDOM = np.random.default_rng(31)
SMALL = Alphabet(("", "a", "b", "c", "\0", " "))
BYTES = "\n".join(chr(0x4E00 + n) for n in range(OCR_CLASSES - 2)).encode() + b"\n"


@pytest.fixture(scope="module")
def dictionary(wheel_models: Path) -> Path:
    return wheel_models / "ppocrv5_dict.txt"


def peaked(winners: list[int], classes: int, top: float = 0.9) -> Float32:
    """Rows in which the given classes win."""
    rows = np.full((len(winners), classes), (1 - top) / (classes - 1), np.float32)
    rows[np.arange(len(winners)), winners] = top
    return rows


def text(rows: Array) -> str:
    return decode(read_glyphs(Tensor(rows), 8), SMALL)[0]


def test_decodes_as_rapidocr(dictionary: Path) -> None:
    rapidocr, alphabet = RapidOcr(), Alphabet.from_file(dictionary)
    for steps in (1, 2, 5, 40, 80):
        # Few classes win, so that blanks and repeats are as frequent as in real lines.
        rows = RANDOM.random((4, steps, OCR_CLASSES), np.float32) * np.float32(1e-5)
        pool = np.array([0, 0, 1, 2, 500, OCR_CLASSES - 2, OCR_CLASSES - 1])
        winners = pool[RANDOM.integers(0, len(pool), (4, steps))]
        np.put_along_axis(rows, winners[:, :, None], RANDOM.random((4, steps, 1), np.float32), axis=2)
        for line, (expected, score) in zip(rows, rapidocr.texts(rows, dictionary), strict=True):
            found = decode(read_glyphs(Tensor(line), 8), alphabet)
            assert found[0] == expected
            assert found[1] == pytest.approx(score, abs=2e-5)  # it rounds to five places


def test_repeats_go_before_blanks() -> None:
    assert text(peaked([1, 1, 0, 1, 2, 2, 0, 0, 3, 5, 5, 1], 6)) == "aabc a"
    assert text(peaked([0, 0, 0], 6)) == ""
    assert decode(read_glyphs(Tensor(peaked([0, 0], 6)), 8), SMALL) == ("", 0.0)


def test_blanks_around_the_text_are_kept() -> None:
    assert text(peaked([5, 1, 5, 0, 5], 6)) == " a  "


def test_a_null_is_left_out() -> None:
    assert text(peaked([1, 4, 2], 6)) == "ab"


def test_the_score_is_the_mean_of_the_kept_steps() -> None:
    rows = peaked([1, 1, 0, 2], 6)
    rows[0, 1], rows[1, 1], rows[3, 2] = 0.5, 0.99, 0.7
    assert decode(read_glyphs(Tensor(rows), 8), SMALL)[1] == pytest.approx(0.6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_are_compared_as_they_are(dtype: type[np.unsignedinteger]) -> None:
    top = np.iinfo(dtype).max
    scale, zero = 1.1 / top, float(top // 20)
    rows = RANDOM.dirichlet(np.ones(6) * 0.2, 200).astype(np.float32)
    raw = np.clip(np.round(rows / scale + zero), 0, top).astype(dtype)
    quantised = Tensor(raw, scale, zero)
    raw_glyphs, glyphs = read_glyphs(quantised, 8), read_glyphs(Tensor(quantised.real()), 8)
    assert len(glyphs) > 50
    assert np.array_equal(raw_glyphs.classes, glyphs.classes)
    assert np.array_equal(raw_glyphs.probabilities, glyphs.probabilities)
    assert np.array_equal(raw_glyphs.columns, glyphs.columns)


def test_characters_stand_where_their_first_step_does() -> None:
    glyphs = read_glyphs(Tensor(peaked([0, 1, 1, 0, 1, 5, 0], 6)), 8, start=100)
    assert glyphs.classes.tolist() == [1, 1, 5]
    assert glyphs.columns.tolist() == [112, 136, 144]


def test_nothing_of_the_rows_is_held() -> None:
    rows = peaked([1, 0, 2], 6)
    glyphs = read_glyphs(Tensor(rows), 8)
    assert not any(np.shares_memory(rows, kept) for kept in (glyphs.classes, glyphs.probabilities, glyphs.columns))


@pytest.mark.parametrize("value", [np.nan, np.inf, 5.7])
@pytest.mark.parametrize("place", [0, 3])
def test_what_is_no_probability_is_a_fault(place: int, value: float) -> None:
    """Logits, too: their mean would pass every score asked for."""
    rows = peaked([1, 0, 2], 6)
    rows[1, place] = value
    with pytest.raises(EngineFault, match=r"not numbers.*models verify"):
        read_glyphs(Tensor(rows), 8)


def test_the_dictionary(dictionary: Path) -> None:
    alphabet = Alphabet.from_file(dictionary)
    assert len(alphabet) == OCR_CLASSES
    assert alphabet.symbols[0] == ""
    assert alphabet.symbols[1] == "\u3000"
    assert alphabet.symbols[-2] == "\U0001f567"
    assert alphabet.symbols[-1] == " "
    assert sum(len(symbol) == 2 for symbol in alphabet.symbols) == 10  # flags


def test_lines_end_in_line_feeds_only() -> None:
    odd = ["\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\u3000"]
    alphabet = Alphabet.from_bytes("\n".join(["a", *odd]).encode(), classes=10)
    assert list(alphabet.symbols) == ["", "a", *odd, " "]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "1 characters where 18,383"),
        (BYTES[:-2], "not UTF-8"),
        (BYTES + "\u00e9\n".encode(), "18,384 characters where 18,383"),
        (BYTES.replace(b"\n", b"\r\n"), "Windows line ends"),
        (b"x\n" * (OCR_CLASSES - 2), "repeated"),
        (BYTES.replace("\u4e00".encode(), b"", 1), "empty"),
        (b"\x00\xff" * 20_000, "not UTF-8"),
    ],
)
def test_another_dictionary_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "dictionary.txt"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=words) as refusal:
        Alphabet.from_file(file)
    assert str(refusal.value).startswith("dictionary.txt ")
    remedy = "replace it with the catalogue's file" if "characters where" in words else "Fetch it again"
    assert isinstance(refusal.value, DamagedFileError) == (remedy == "Fetch it again")
    assert remedy in str(refusal.value)


def test_a_missing_dictionary_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"dictionary\.txt cannot be read"):
        Alphabet.from_file(tmp_path / "dictionary.txt")
