"""Letter-spaced lines: drawn together to the pitch of ordinary print; ordinary print is left alone."""

import asyncio
import random
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from rapidocr_reference import edits
from text_pages import CHINESE, WORDS, chinese, latin

from ml_target.arbiter import Arbiter
from ml_target.catalogue.networks import OCR_RECOGNITION
from ml_target.decoders.ctc import Alphabet
from ml_target.engines import Intake
from ml_target.engines.onnx import OnnxEngine
from ml_target.host import HostPool
from ml_target.linereader import LineReader
from ml_target.models import Model, Provenance
from ml_target.preprocessing.spacing import NARROWEST, draw_together
from ml_target.tensors import UInt8
from ml_target.trace import Trace

INK, PAPER = (20, 20, 25), (250, 250, 248)


def strip(text: str, apart: float, font: object, ink: tuple[int, ...] = INK, paper: tuple[int, ...] = PAPER) -> UInt8:
    """The line as the detector cuts it: 48 high, letters of 33 px, `apart` em between them; a little noise."""
    widths = [font.getlength(letter) + apart * 33 for letter in text]  # type: ignore[attr-defined]
    image = Image.new("RGB", (int(sum(widths)) + 16, 48), paper)
    draw = ImageDraw.Draw(image)
    for letter, left in zip(text, accumulate(widths, initial=8), strict=False):
        draw.text((left, 24), letter, ink, font, anchor="lm")  # type: ignore[arg-type]
    noise = np.random.default_rng(len(text)).normal(0, 3, (48, image.width, 3))
    return np.clip(np.array(image) + noise, 0, 255).astype(np.uint8)


def words(seed: int, form: Callable[[str], str] = str) -> str:
    chosen = random.Random(seed)
    return form(" ".join(chosen.choice(WORDS) for _ in range(6)))


@pytest.mark.parametrize("serif", [False, True])
@pytest.mark.parametrize("apart", [0.0, 0.05])
@pytest.mark.parametrize(
    "text",
    [
        words(1),
        words(2, str.upper),
        "a I to by of 1 2 be at I to my on 4 5 or it",
        "11 17 171 7 11 1 171 77 11 17 1 117 11",
        "ill till fill lilt hill illicit till ill",
        "12  7  94  3  25  60  18  44  2",
        "Chapter seven" + "." * 40 + " 17",
        "www.example.com/photos/2026-11-30/IMG_1234.jpg",
    ],
)
def test_ordinary_print_is_left_alone(text: str, apart: float, serif: bool) -> None:
    line = strip(text, apart, latin(serif, 33))
    assert draw_together(line) is line


def test_chinese_is_left_alone() -> None:
    if (font := chinese(33)) is None:
        pytest.skip("no font with Chinese characters here")
    for seed in range(20):
        line = strip("".join(random.Random(seed).choices(CHINESE, k=16)), 0.0, font)
        assert draw_together(line) is line


@pytest.mark.parametrize("line", [np.zeros((48, 900, 3), np.uint8), strip("ONE MAN", 0.6, latin(False, 33))])
def test_too_few_letters_tell_nothing(line: UInt8) -> None:
    assert draw_together(line) is line


@pytest.mark.parametrize("form", [str.lower, str.upper])
@pytest.mark.parametrize("serif", [False, True])
@pytest.mark.parametrize(("ink", "paper"), [(INK, PAPER), ((240, 240, 230), (60, 90, 120)), ((150,) * 3, (195,) * 3)])
def test_however_far_apart_the_letters_end_at_one_pitch(
    form: Callable[[str], str], serif: bool, ink: tuple[int, ...], paper: tuple[int, ...]
) -> None:
    text = words(3, form)
    lines = [strip(text, apart, latin(serif, 33), ink, paper) for apart in (0.2, 0.3, 0.4, 0.5)]
    widths = [draw_together(line).shape[1] for line in lines]
    assert lines[-1].shape[1] > 1.3 * lines[0].shape[1]
    assert max(widths) < 1.25 * min(widths)
    assert 0.25 < np.mean(widths) / (48 * len(text)) < 0.45
    assert all(draw_together(line).shape[0] == 48 for line in lines)


def test_no_line_is_squeezed_beyond_reading() -> None:
    line = strip("A B C D E F G H I J K L", 1.5, latin(False, 33))
    assert draw_together(line).shape[1] == pytest.approx(NARROWEST * line.shape[1], abs=1)


# ---------------------------------------------------------------- what it is for


class Windowed:
    """The free recogniser with frames of 320, as a card's."""

    def __init__(self, network: object) -> None:
        self._network = network
        self.intake = Intake((48, 320, 3), "uint8")

    def __getattr__(self, name: str) -> object:
        return getattr(self._network, name)


def test_letters_that_stand_apart_are_read(wheel_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In windows of 320 as they are, a third of them is wrong; drawn together, hardly one."""
    alphabet = Alphabet.from_file(wheel_models / "ppocrv5_dict.txt")
    network = OnnxEngine(threads=1).open(wheel_models / "ppocrv5_mobile_rec.onnx", OCR_RECOGNITION)
    texts = [words(seed, str.upper) for seed in range(3)]
    strips = [strip(text, 0.5, latin(False, 33)) for text in texts]
    pool, host = Arbiter(1), HostPool(1)
    try:
        model = Model(OCR_RECOGNITION, Windowed(network), pool, Provenance("windowed", "", "cpu"))  # type: ignore[arg-type]
        reader = LineReader(model, alphabet, host)

        def wrong() -> float:
            return sum(map(_wrong, texts, strips)) / sum(map(len, texts))

        def _wrong(text: str, line: UInt8) -> int:
            height, width = line.shape[:2]
            corners = np.array([[(0, 0), (width, 0), (width, height), (0, height)]], np.float32)
            return edits(asyncio.run(reader.read(line, corners, Trace()))[0][0], text)

        assert wrong() <= 0.03
        monkeypatch.setattr("ml_target.linereader.draw_together", lambda line: line)
        assert wrong() > 0.3
    finally:
        host.close()
        pool.close()
