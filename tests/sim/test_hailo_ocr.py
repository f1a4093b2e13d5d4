"""Text on the simulated card: every line in its own box, and fixed sizes in bytes read as free ones do.

Drawn pages of every kind: test_ocr_accuracy.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import parity_table as parity
import pytest
from pictures import read_rgb
from rapidocr_reference import edits
from simulated_card import open_card, write_text_files
from text_reading import PhotoLines, errors_against_truth, read

from ml_target.catalogue.networks import OCR_DETECTION, OCR_RECOGNITION
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.reader import Line, TextReader

pytestmark = pytest.mark.slow  # real networks over whole pages

TEXT_PHOTOS = ("token_grid", "invoice", "vertical_signs", "long_lines", "page_portrait")
OTHER_PHOTOS = ("coffee", "astronaut")
NEAR = 0.02
"""How far the corners of one line may lie apart, of the picture's side."""


@dataclass(frozen=True)
class Bench:
    """The photos read on the card."""

    card: TextReader
    photos: Path

    @cached_property
    def lines(self) -> dict[str, list[Line]]:
        """On the card."""
        return {name: read(self.card, read_rgb(self.photos / f"{name}.jpg")) for name in TEXT_PHOTOS}


@pytest.fixture(scope="module")
def bench(wheel_models: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("card")
    write_text_files(folder, wheel_models)
    alphabet = Alphabet.from_file(folder / "ppocrv5_dict.txt")
    with open_card() as card:
        found, read = (card.model(folder, network) for network in (OCR_DETECTION, OCR_RECOGNITION))
        yield Bench(TextReader(found, read, alphabet, card.host, 1000, 16), photos)
        assert not card.rig.record.crashes


def cells(lines: list[Line]) -> dict[str, tuple[int, int]]:
    """Row and column in which each word of the grid lies."""
    middles = {line.text.replace("O", "0"): line.corners.mean(axis=0) for line in lines}  # the font's 0 is its O
    return {word: (int(y * 8), int(x * 8)) for word, (x, y) in middles.items()}


def test_text_sits_in_its_own_box(bench: Bench) -> None:
    lines = bench.lines["token_grid"]
    parity.record("OCR on the simulated Hailo", "words of the grid in their own boxes", f"{len(lines)} of 64", "64")
    assert len(lines) == 64
    assert cells(lines) == {f"R{row}C{column}": (row, column) for row in range(8) for column in range(8)}
    assert list(cells(lines)) == sorted(cells(lines)), "reading order"


@pytest.mark.parametrize("name", ["invoice", "vertical_signs"])
def test_large_print_is_read_as_by_the_cpu_engine(bench: Bench, photo_lines: PhotoLines, name: str) -> None:
    ours, theirs = bench.lines[name], photo_lines.of(name)
    assert [line.text for line in ours] == [line.text for line in theirs]
    for line, other in zip(ours, theirs, strict=True):
        assert np.abs(line.corners - other.corners).max() <= NEAR
        assert line.text_score == pytest.approx(other.text_score, abs=0.05)


def test_no_line_is_read_elsewhere(bench: Bench, photo_lines: PhotoLines, manifest: dict[str, Any]) -> None:
    """Whatever is read lies where the CPU engine reads the same, and nothing that it reads is lost."""
    for name in TEXT_PHOTOS:
        ours, theirs = bench.lines[name], photo_lines.of(name)
        truth = manifest[f"{name}.jpg"]["rendered_lines"]
        same, astray = 0, []
        for line in ours:
            distance, other = min(
                ((float(np.abs(o.corners - line.corners).max()), o) for o in theirs), key=lambda p: p[0]
            )
            same += line.text == other.text
            if distance > NEAR or edits(line.text, other.text) > len(other.text) // 4:
                astray.append(f"{line.text} for {other.text}")
        read_lines, errors = errors_against_truth(ours, truth)
        subject = f"OCR on the simulated Hailo, {name}"
        parity.record(subject, "lines as by the CPU engine at free sizes", f"{same} of {len(theirs)}", "≥ 95 %")
        parity.record(subject, "lines astray", str(len(astray)), "0")
        parity.record(
            subject, "rendered lines read, wrong letters", f"{read_lines} of {len(truth)}, {errors}", "CPU's, + 1 %"
        )
        assert not astray
        assert same >= 0.95 * len(theirs)
        cpu_lines, cpu_errors = errors_against_truth(theirs, truth)
        assert read_lines >= cpu_lines
        assert errors <= cpu_errors + 0.01 * sum(map(len, truth))


def test_pictures_without_text_hold_none(bench: Bench) -> None:
    for name in OTHER_PHOTOS:
        assert read(bench.card, read_rgb(bench.photos / f"{name}.jpg")) == [], name
