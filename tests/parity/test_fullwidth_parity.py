"""Lines of letters that stand far apart, read by the real network."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from line_reading import read, reading
from PIL import Image, ImageDraw
from rapidocr_reference import edits
from text_pages import latin

from ml_target.catalogue.networks import OCR_RECOGNITION
from ml_target.engines import Intake
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.tasks.ocr import read as linereader
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.read import LineReader
from ml_target.tensors import UInt8

FIXED = Intake((48, 320, 3), "uint8")


def strip(text: str, apart: float, *, underlined: bool = False) -> UInt8:
    """A line as the detector cuts it, 48 high with letters of 33 px, `apart` em between them; a little noise."""
    font: Any = latin(False, 33)
    widths = [font.getlength(letter) + apart * 33 for letter in text]
    image = Image.new("RGB", (int(sum(widths)) + 16, 48), (250, 250, 248))
    draw = ImageDraw.Draw(image)
    for letter, left in zip(text, accumulate(widths, initial=8), strict=False):
        draw.text((left, 24), letter, (20, 20, 25), font, anchor="lm")
    if underlined:
        draw.line([(8, 41), (image.width - 8, 41)], (20, 20, 25), 2)
    noise = np.random.default_rng(len(text)).normal(0, 3, (48, image.width, 3))
    return np.clip(np.array(image) + noise, 0, 255).astype(np.uint8)


class Windowed:
    """The free recogniser with frames of 320, as a card's."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self.intake = FIXED

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


@pytest.fixture(scope="module")
def windowed(wheel_models: Path) -> Iterator[LineReader]:
    network = OnnxEngine(threads=1).open(wheel_models / "ppocrv5_mobile_rec.onnx", OCR_RECOGNITION)
    with reading(Windowed(network), Alphabet.from_file(wheel_models / "ppocrv5_dict.txt")) as reader:
        yield reader


HEADLINES = ("PHOTOGRAPHY AND DESIGN www.miller.com", "RESTAURANT AND WINE BAR", "late window before the river market")


def wrong_letters(reader: LineReader, lines: Sequence[UInt8]) -> float:
    texts = [text.replace(" ", "") for text, _ in read(reader, lines)]
    truth = [text.replace(" ", "") for text in HEADLINES]
    return sum(map(edits, texts, truth)) / len("".join(truth))


@pytest.mark.parametrize("underlined", [False, True])
def test_letters_that_stand_apart_are_read(
    windowed: LineReader, monkeypatch: pytest.MonkeyPatch, underlined: bool
) -> None:
    lines = [strip(text, 0.5, underlined=underlined) for text in HEADLINES]
    assert wrong_letters(windowed, lines) <= 0.05
    monkeypatch.setattr(linereader, "seems_letter_spaced", lambda _: False)
    assert wrong_letters(windowed, lines) > 0.3


def test_tokens_in_a_row_stay_apart(windowed: LineReader) -> None:
    """They look like spaced letters, and drawn together their spaces would go."""
    rows = ["11 24 37 48 52 66 71 89 93 10 25 31", "12 7 94 3 25 60 18 44 2 31 8 15 70"]
    for (text, _), row in zip(read(windowed, [strip(row, 0.0) for row in rows]), rows, strict=True):
        assert text.replace(" ", "") == row.replace(" ", "")
        assert text.count(" ") >= 0.7 * row.count(" ")
