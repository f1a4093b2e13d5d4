"""PP-OCRv6 small with its real weights: the lines of RapidOCR, on photos and on a drawn page, and over HTTP."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import parity_table as parity
import pytest
from pictures import read_rgb
from PIL import Image, ImageDraw
from rapidocr_reference import RapidOcrV6Reader, ReferenceLine, WholeRapidOcr, edits
from serving import live
from text_pages import latin
from text_reading import OPTIONS, errors_against_truth, read
from wire import ask

from ml_target.catalogue.networks import OCR_V6_CLASSES, PPOCRV6_SMALL
from ml_target.config import Settings
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.runtime.assembly import Loader
from ml_target.runtime.place import place_of
from ml_target.scheduling.threads import ThreadPool
from ml_target.store import Store
from ml_target.tasks.ocr.reader import Line, TextReader
from ml_target.tasks.ocr.task import OCR
from ml_target.tensors import UInt8

TEXTS = ("Zażółć gęślą jaźń", "Où est l'œuvre ?", "İstanbul'da güneş", "Total 1,284.50 EUR")
"""PP-OCRv5 mobile cannot spell the first three."""


@pytest.fixture(scope="module")
def reader(v6_models: Path) -> Iterator[TextReader]:
    """As the worker makes it, from files."""
    place, host = place_of(OnnxEngine(threads=1)), ThreadPool(1)
    loader = Loader(Settings(ocr_model="ppocrv6_small"), Store(v6_models), host, place, place)
    yield loader.service(OCR.offer(PPOCRV6_SMALL)).get()
    host.close()
    place.arbiter.close()


@pytest.fixture(scope="module")
def rapidocr(v6_models: Path) -> RapidOcrV6Reader:
    return RapidOcrV6Reader(v6_models)


@pytest.fixture(scope="module")
def drawn() -> UInt8:
    """A page that no detector resizes: its shorter side is 736, both are multiples of 32."""
    page = Image.new("RGB", (960, 736), "white")
    draw, y = ImageDraw.Draw(page), 40
    for text in TEXTS:
        draw.text((60, y), text, "black", latin(False, 44))
        y += 140
    return np.asarray(page)


def differences(lines: Sequence[Line], expected: Sequence[ReferenceLine]) -> tuple[float, float, list[float]]:
    """Of lines in the same order: the farthest corner (share of a side), the largest difference of the boxes' scores,
    each of the texts'."""
    pairs = list(zip(lines, expected, strict=True))
    return (
        max((float(np.abs(a.corners - b.corners).max()) for a, b in pairs), default=0.0),
        max((abs(a.box_score - b.box_score) for a, b in pairs), default=0.0),
        [abs(a.text_score - b.text_score) for a, b in pairs],
    )


def test_its_alphabet_is_the_one_in_its_file(reader: TextReader, rapidocr: RapidOcrV6Reader) -> None:
    characters: list[str] = rapidocr.dictionary
    assert reader.alphabet.symbols == ("", *characters, " ")
    assert len(reader.alphabet) == OCR_V6_CLASSES


def test_photos_read_as_rapidocr_reads_them(
    reader: TextReader, rapidocr: RapidOcrV6Reader, photos: Path, manifest: dict[str, Any]
) -> None:
    wrong = letters = found = true_lines = others = read_letters = 0
    corners: list[float] = []
    scores: list[float] = []
    for name in ("invoice", "token_grid", "astronaut"):
        picture = read_rgb(photos / f"{name}.jpg")
        lines, expected = read(reader, picture), rapidocr.read(picture, OPTIONS.min_text_score)
        # Like PP-OCRv5 it cannot tell 0 from O in the grid's font: a rounding of the crop decides.
        ours, theirs = ([line.text.replace("O", "0") for line in each] for each in (lines, expected))
        assert ours == theirs, name
        others += sum(edits(a.text, b.text) for a, b in zip(lines, expected, strict=True))
        read_letters += sum(map(len, theirs))
        corner, box_score, text_scores = differences(lines, expected)
        assert box_score <= 1e-3
        corners.append(corner)
        scores += text_scores
        truth = manifest[f"{name}.jpg"].get("rendered_lines", [])
        read_lines, errors = errors_against_truth(lines, truth)
        found, wrong = found + read_lines, wrong + errors
        true_lines, letters = true_lines + len(truth), letters + sum(map(len, truth))
    parity.record("OCR by PP-OCRv6 on photos", "farthest corner, of the picture's side", max(corners), "≤ 0.005")
    # RapidOCR's own scores follow the width of the batch that a line happens to be in.
    parity.record("OCR by PP-OCRv6 on photos", "text score, mean difference", float(np.mean(scores)), "≤ 0.01")
    parity.record("OCR by PP-OCRv6 on photos", "letters other than RapidOCR's", others / read_letters, "≤ 0.02")
    parity.record("OCR by PP-OCRv6 on photos", "rendered lines read", f"{found} of {true_lines}", "≥ 97 %")
    assert max(corners) <= 0.005
    assert np.mean(scores) <= 0.01
    assert others <= 0.02 * read_letters
    assert found >= 0.97 * true_lines
    assert wrong <= 0.02 * letters


def test_a_page_reads_as_rapidocr_itself_reads_it(reader: TextReader, drawn: UInt8) -> None:
    """RapidOCR from end to end with its own settings: its own resizing, normalisation, boxes and batches."""
    lines, expected = read(reader, drawn), WholeRapidOcr().read(drawn)
    assert [line.text for line in lines] == [line.text for line in expected]
    assert sum(edits(line.text, text) for line, text in zip(lines, TEXTS, strict=True)) <= 2
    assert len(lines) == 4
    pairs = list(zip(lines, expected, strict=True))
    corner = max(float(np.abs(line.corners - theirs.corners).max()) for line, theirs in pairs)
    score = max(abs(line.text_score - theirs.text_score) for line, theirs in pairs)
    parity.record("OCR by PP-OCRv6, drawn page", "farthest corner of RapidOCR's", corner, "≤ 0.003")
    parity.record("OCR by PP-OCRv6, drawn page", "text score of RapidOCR's", score, "≤ 0.03")
    assert corner <= 0.003
    assert score <= 0.03


def test_a_page_over_http(reader: TextReader, drawn: UInt8, v6_models: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(drawn).save(stream, "PNG")
    expected = read(reader, drawn)
    settings = Settings(engine="cpu", models_dir=v6_models, ocr_model="ppocrv6_small", cpu_threads=1, cpu_workers=1)

    def entries(name: str) -> dict[str, Any]:
        boxes, texts = {"minScore": 0.5, "maxResolution": 736}, {"minScore": 0.8}
        return {
            "ocr": {
                "detection": {"modelName": name, "options": boxes},
                "recognition": {"modelName": name, "options": texts},
            }
        }

    with live(settings=settings) as (client, _):
        answer = ask(client, entries("PP-OCRv6_small"), stream.getvalue())
        other = ask(client, entries("PP-OCRv5_mobile"), stream.getvalue())
        status = client.get("/status").json()
    assert answer.status_code == 200
    found = answer.json()["ocr"]
    assert found["text"] == [line.text for line in expected]
    assert found["textScore"] == pytest.approx([line.text_score for line in expected], abs=1e-4)
    assert np.reshape(found["box"], (-1, 4, 2)) == pytest.approx(
        np.array([line.corners for line in expected]), abs=1e-5
    )
    assert other.status_code == 400
    assert "or start the worker with OCR_MODEL=ppocrv5_mobile" in other.json()["detail"]
    assert status["ocr"] == [
        {"model": "ppocrv6_small", "on": True, "immich_name": "PP-OCRv6_small", "names": list(PPOCRV6_SMALL.names)}
    ]
    assert {network["engine"] for network in status["tasks"]["ocr"]["networks"]} == {"cpu"}
