"""Lines of letters that stand far apart: known by full-width letters in their windows, drawn together, read again."""

import numpy as np
import pytest
from fake_text import Fake
from line_reading import read, reading

from ml_target.catalogue.networks import CLASS_SCORES, OCR_CLASSES
from ml_target.engines import Intake
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.fullwidth import seems_letter_spaced
from ml_target.tensors import Array, Outputs, Tensor

FIXED = Intake((48, 320, 3), "uint8")


@pytest.mark.parametrize(
    "text", ["ＰＨＯＴＯ", "PHOTOＧRAPHY", "by after plｅase", "ROOM １２", "ÉＴÉ", "ＡＢＣＤＥＦＧ 山"]
)
def test_full_width_letters_among_latin_ones(text: str) -> None:
    assert seems_letter_spaced(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "PHOTOGRAPHY",
        "M T W T F",
        "été, Straße",
        "山水月日",
        "山水ＡＢ",
        "山Ａ B",
        "ＪＲ東日本",
        "한국어 Ａ",
        "，。！",
        "～",
    ],
)
def test_everything_else(text: str) -> None:
    assert not seems_letter_spaced(text)


# ---------------------------------------------------------------- which reading stays

SYMBOLS = Alphabet(("", *"ABＡＢ", *(chr(0x4E00 + n) for n in range(OCR_CLASSES - 6)), " "))
A, B, WIDE_A, WIDE_B, IDEOGRAM = 1, 2, 3, 4, 5


class Scripted(Fake):
    """Shows one class, and how sure it is, in the middle of each frame: `first` in so many windows, then `second`."""

    def __init__(self, first: tuple[int, float], second: tuple[int, float], windows: int) -> None:
        super().__init__(self._say, FIXED)
        self._first, self._second, self._windows = first, second, windows

    def _say(self, _: Array) -> Outputs:
        said, sure = self._first if len(self.frames) <= self._windows else self._second
        values = np.zeros((40, OCR_CLASSES), np.float32)
        values[:, 0] = 1
        values[20, [0, said]] = 0, sure
        return {CLASS_SCORES: Tensor(values)}


@pytest.mark.parametrize(
    ("first", "second", "stays", "frames"),
    [
        ((A, 0.6), (B, 0.9), "AA", 2),  # not read again: nothing full-width
        ((IDEOGRAM, 0.6), (B, 0.9), "一一", 2),
        ((WIDE_A, 0.9), (A, 0.95), "A", 3),
        ((WIDE_A, 0.9), (A, 0.85), "A", 3),  # a little less sure, and no full-width letter
        ((WIDE_A, 0.9), (A, 0.7), "ＡＡ", 3),  # much less sure
        ((WIDE_A, 0.9), (0, 1.0), "ＡＡ", 3),  # nothing at all
        ((WIDE_A, 0.8), (WIDE_B, 0.9), "Ｂ", 3),  # full-width it is: the surer one
        ((WIDE_A, 0.9), (WIDE_B, 0.8), "ＡＡ", 3),
    ],
)
def test_a_line_is_read_again_once_and_the_better_reading_stays(
    first: tuple[int, float], second: tuple[int, float], stays: str, frames: int
) -> None:
    """540 columns are two windows at first; drawn together they are one of 216."""
    network = Scripted(first, second, 2)
    with reading(network, SYMBOLS) as reader:
        ((text, _),) = read(reader, [np.zeros((48, 540, 3), np.uint8)])
    assert text == stays
    assert len(network.frames) == frames


def test_a_line_of_one_frame_is_as_the_official_way_reads_it() -> None:
    network = Scripted((WIDE_A, 0.9), (A, 0.99), 1)
    with reading(network, SYMBOLS) as reader:
        ((text, _),) = read(reader, [np.zeros((48, 320, 3), np.uint8)])
    assert text == "Ａ"
