"""Text end to end: on real photos the lines of RapidOCR and the truth; hard pictures; bounded memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import parity_table as parity
import pytest
from pictures import read_rgb
from PIL import Image, ImageDraw, ImageFont
from rapidocr_reference import RapidOcrReader, ReferenceLine, edits
from remembered import Remembered
from text_reading import OPTIONS, PhotoLines, errors_against_truth, read

from ml_target.catalogue.networks import CLASS_SCORES, OCR_DETECTION, OCR_RECOGNITION, PROBABILITY
from ml_target.catalogue.types import Network
from ml_target.engines import Intake, LoadedNetwork
from ml_target.engines.onnx.engine import OnnxEngine
from ml_target.log.trace import Trace
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.reader import Line, ReadOptions, TextReader
from ml_target.tensors import Array, Outputs, Tensor, UInt8

TEXT_PHOTOS = ("page_portrait", "invoice", "long_lines", "screenshot_tall", "vertical_signs", "token_grid")
OTHER_PHOTOS = ("coffee", "astronaut", "faces_four")


@dataclass
class Fixed:
    """A network that takes one size only, as those on the device do."""

    inner: LoadedNetwork
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        self.intake = Intake(self.shape, "uint8")
        self.max_batch = self.inner.max_batch
        self.roles = self.inner.roles

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        assert all(frame.shape == self.shape and frame.flags.c_contiguous for frame in frames)
        return self.inner.run(frames)

    def close(self) -> None:
        self.inner.close()


def in_place_of(model: Model, loaded: LoadedNetwork, pool: Arbiter) -> Model:
    return replace(model, queue=pool.queue(loaded, model.network.name))


@dataclass(frozen=True)
class Bench:
    """The real networks, opened once."""

    detector: Model
    recognizer: Model
    alphabet: Alphabet
    host: ThreadPool
    pool: Arbiter

    def reader(
        self, *, fixed_detector: bool = False, fixed_recognizer: bool = False, lines: int = 1000, tiles: int = 16
    ) -> TextReader:
        detector, recognizer = self.detector, self.recognizer
        if fixed_detector:
            detector = in_place_of(detector, Fixed(detector.loaded, (544, 960, 3)), self.pool)
        if fixed_recognizer:
            recognizer = in_place_of(recognizer, Fixed(recognizer.loaded, (48, 320, 3)), self.pool)
        return TextReader(detector, recognizer, self.alphabet, self.host, lines, tiles)


@pytest.fixture(scope="module")
def threads() -> Iterator[tuple[ThreadPool, Arbiter]]:
    host, pool = ThreadPool(2), Arbiter(1)
    yield host, pool
    host.close()
    pool.close()


@pytest.fixture(scope="module")
def bench(wheel_models: Path, threads: tuple[ThreadPool, Arbiter]) -> Bench:
    engine = OnnxEngine(threads=2)
    host, pool = threads

    def model(file: str, network: Network, loaded: LoadedNetwork) -> Model:
        return Model(network, pool.queue(loaded, network.name), Provenance(file, "", engine.name))

    found, read = "ppocrv5_mobile_det.onnx", "ppocrv5_mobile_rec.onnx"
    return Bench(
        # Several tests look at the same picture.
        model(found, OCR_DETECTION, Remembered(engine.open(wheel_models / found, OCR_DETECTION))),
        model(read, OCR_RECOGNITION, Remembered(engine.open(wheel_models / read, OCR_RECOGNITION))),
        Alphabet.from_file(wheel_models / "ppocrv5_dict.txt"),
        host,
        pool,
    )


@pytest.fixture(scope="module")
def rapidocr(wheel_models: Path) -> RapidOcrReader:
    return RapidOcrReader(wheel_models)


def pair(lines: Sequence[Line], reference: Sequence[ReferenceLine]) -> list[tuple[ReferenceLine, Line | None, float]]:
    """Every line of the reference, the nearest of ours, and how far their corners are apart, 0..1."""
    pairs: list[tuple[ReferenceLine, Line | None, float]] = []
    for expected in reference:
        distances = [float(np.abs(line.corners - expected.corners).max()) for line in lines]
        nearest = int(np.argmin(distances)) if distances else -1
        pairs.append((expected, lines[nearest], distances[nearest]) if distances else (expected, None, 1.0))
    return pairs


# -------------------------------------------------------------- real photos


def test_real_photos_read_as_rapidocr_reads_them(
    photo_lines: PhotoLines, rapidocr: RapidOcrReader, photos: Path, manifest: dict[str, Any]
) -> None:
    total = near = wrong = letters = extra = 0
    true_lines = found = ours_wrong = theirs_wrong = true_letters = 0
    distances: list[float] = []
    scores: list[float] = []
    for name in (*TEXT_PHOTOS, *OTHER_PHOTOS):
        picture = read_rgb(photos / f"{name}.jpg")
        expected, lines = rapidocr.read(picture, OPTIONS.min_text_score), photo_lines.of(name)
        if name in OTHER_PHOTOS:
            assert not lines, name
            assert not expected, name
            continue
        for reference, line, distance in pair(lines, expected):
            total += 1
            letters += len(reference.text)
            if line is not None and distance <= 0.005:
                near += 1
                distances.append(distance)
                wrong += edits(line.text, reference.text)
                scores.append(abs(line.text_score - reference.text_score))
                assert line.box_score == pytest.approx(reference.box_score, abs=1e-3)
        extra += max(0, len(lines) - len(expected))
        assert [line.text for line in lines] == [r.text for r in expected], name  # in the same order, too
        truth = manifest[f"{name}.jpg"]["rendered_lines"]
        read_lines, errors = errors_against_truth(lines, truth)
        true_lines, found, ours_wrong = true_lines + len(truth), found + read_lines, ours_wrong + errors
        theirs = [Line(r.text, r.corners, r.box_score, r.text_score) for r in expected]
        theirs_wrong += errors_against_truth(theirs, truth)[1]
        true_letters += sum(map(len, truth))
    subject = "OCR on real photos, CPU"
    parity.record(subject, "lines of RapidOCR found", near / total, "≥ 0.98")
    parity.record(subject, "lines RapidOCR does not have", str(extra), "0")
    parity.record(subject, "letters other than RapidOCR's", wrong / letters, "≤ 0.01")
    parity.record(subject, "farthest corner, of the picture's side", max(distances), "≤ 0.005")
    # RapidOCR's own scores follow the width of the batch that a line happens to be in.
    parity.record(subject, "text score, mean difference", float(np.mean(scores)), "≤ 0.01")
    parity.record(subject, "rendered lines read", f"{found} of {true_lines}", "≥ 97 %")
    parity.record(subject, "wrong letters (RapidOCR's)", f"{ours_wrong} ({theirs_wrong}) of {true_letters}", "≤ 1 %")
    assert near / total >= 0.98
    assert wrong / letters <= 0.01
    assert extra == 0
    assert np.mean(scores) <= 0.01
    # Not read by either: the sign that runs upwards, the last line of the screenshot (below its rim), R0C0 ("ROCO").
    assert found / true_lines >= 0.97
    assert ours_wrong / true_letters <= 0.01


def test_fixed_sizes_read_the_same(bench: Bench, photos: Path, manifest: dict[str, Any]) -> None:
    """Of both networks, as no engine has one at a fixed size and the other at a free one."""
    reader = bench.reader(fixed_detector=True, fixed_recognizer=True)
    found = wrong = letters = total = 0
    for name in ("long_lines", "invoice"):
        truth = manifest[f"{name}.jpg"]["rendered_lines"]
        lines = read(reader, read_rgb(photos / f"{name}.jpg"))
        read_lines, errors = errors_against_truth(lines, truth)
        found, wrong = found + read_lines, wrong + errors
        total, letters = total + len(truth), letters + sum(map(len, truth))
    subject = "OCR, 544 x 960 + 48 x 320 windows, float"
    parity.record(subject, "wrong letters, long lines", wrong / letters, f"≤ 0.02, all {total} lines")
    assert found == total
    assert wrong / letters <= 0.02


def test_text_sits_in_its_own_box(photo_lines: PhotoLines) -> None:
    lines = photo_lines.of("token_grid")
    # The network cannot tell this font's 0 from its O; RapidOCR answers the same.
    cells = {line.text.replace("O", "0"): line.corners for line in lines}
    assert set(cells) == {f"R{row}C{column}" for row in range(8) for column in range(8)}
    assert len(lines) == 64
    for name, corners in cells.items():
        row, column = int(name[1]), int(name[3])
        x, y = corners.mean(axis=0)
        assert (int(x * 8), int(y * 8)) == (column, row)
    order = [line.text.replace("O", "0") for line in lines]
    assert order == sorted(order)


# ----------------------------------------------------------- drawn pictures


def page(texts: Sequence[str], width: int, height: int, columns: int, size: int) -> UInt8:
    """The texts in black on white, row by row."""
    image = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size=size)
    rows = -(-len(texts) // columns)
    for index, text in enumerate(texts):
        row, column = divmod(index, columns)
        draw.text((20 + column * (width - 20) / columns, 20 + row * (height - 20) / rows), text, "black", font)
    return np.array(image)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_turned_signs(bench: Bench, rapidocr: RapidOcrReader, quarters: int) -> None:
    """Text that runs downwards is read on one of its sides only, and nothing is made up for the rest."""
    picture = np.ascontiguousarray(np.rot90(page(["NORTH GATE"], 500, 400, 1, 60), quarters))
    lines, expected = read(bench.reader(), picture), rapidocr.read(picture, OPTIONS.min_text_score)
    assert [line.text for line in lines] == [line.text for line in expected]
    assert [line.text for line in lines] == (["NORTH GATE"] if quarters in (0, 3) else [])
    for line in lines:  # the corners are the picture's, whichever way the text runs
        assert line.corners[0].tolist() == line.corners.min(axis=0).tolist()


@pytest.mark.parametrize("shape", [(31, 400), (400, 31), (1, 1)])
def test_pictures_too_small_to_look_at(bench: Bench, shape: tuple[int, int]) -> None:
    trace = Trace()
    assert read(bench.reader(), np.full((*shape, 3), 255, np.uint8), OPTIONS, trace) == []
    assert not trace.stages


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("shape", [(32, 32), (33, 2000), (1500, 40), (300, 500)])
def test_blank_and_odd_pictures_hold_nothing(bench: Bench, shape: tuple[int, int], fixed: bool) -> None:
    reader = bench.reader(fixed_detector=fixed, fixed_recognizer=fixed)
    for value in (0, 255):
        assert read(reader, np.full((*shape, 3), value, np.uint8)) == []


def test_a_strip_is_read(bench: Bench, rapidocr: RapidOcrReader) -> None:
    picture = page(["Harbour", "market", "opens", "at", "seven", "thirty"], 2400, 72, 6, 30)
    lines, expected = read(bench.reader(), picture), rapidocr.read(picture, OPTIONS.min_text_score)
    assert [line.text for line in lines] == [line.text for line in expected]
    assert "".join(line.text for line in lines).replace(" ", "") == "Harbourmarketopensatseventhirty"


def test_a_line_far_wider_than_the_recogniser(bench: Bench) -> None:
    """About 48 x 8000 pixels: free sizes read it in windows of 2560, fixed ones in windows of 320."""
    words = [f"lantern {n} copper" for n in range(100, 131)]
    font = ImageFont.load_default(size=40)
    image = Image.new("RGB", (int(font.getlength(" ".join(words))) + 40, 90), "white")
    ImageDraw.Draw(image).text((20, 20), " ".join(words), "black", font)
    picture = np.array(image)
    for fixed in (False, True):
        lines = read(bench.reader(fixed_recognizer=fixed), picture, ReadOptions(min_text_score=0.5))
        text = "".join(line.text for line in lines).replace(" ", "")
        wanted = "".join(words).replace(" ", "")
        assert max(line.corners[:, 0].max() - line.corners[:, 0].min() for line in lines) > 0.9
        assert edits(text, wanted) / len(wanted) <= 0.02


def test_a_dense_page(bench: Bench) -> None:
    words = [f"{'ABCDEFGHKM'[n % 10]}{n:03d}x" for n in range(150)]
    trace = Trace()
    lines = read(bench.reader(), page(words, 1440, 1440, 6, 30), OPTIONS, trace)
    assert trace.counts["boxes"] == len(words)
    assert errors_against_truth(lines, words)[0] >= 0.98 * len(words)
    assert [line.text for line in lines if line.text in words] == [w for w in words if w in {t.text for t in lines}]


def test_options_filter_boxes_and_texts(bench: Bench, photo_lines: PhotoLines, photos: Path) -> None:
    picture = read_rgb(photos / "invoice.jpg")
    lines = photo_lines.of("invoice")
    scores = sorted(line.text_score for line in lines)
    kept = read(bench.reader(), picture, replace(OPTIONS, min_text_score=scores[1]))
    assert sorted(line.text_score for line in kept) == pytest.approx(scores[2:])  # strictly above
    best = max(line.box_score for line in lines)
    boxes = read(bench.reader(), picture, replace(OPTIONS, min_box_score=best - 1e-6))
    assert [line.box_score for line in boxes] == [best]
    assert not read(bench.reader(), picture, replace(OPTIONS, min_box_score=1.0))


def test_too_many_lines_are_cut_with_words(bench: Bench, photo_lines: PhotoLines, photos: Path) -> None:
    picture, trace = read_rgb(photos / "invoice.jpg"), Trace()
    every = photo_lines.of("invoice")
    assert [line.text for line in read(bench.reader(lines=2), picture, OPTIONS, trace)] == [
        line.text for line in every[:2]
    ]
    assert "MAX_TEXT_LINES" in trace.warnings[0]


def test_integers_of_a_device_read_the_same(bench: Bench, photos: Path) -> None:
    """Both networks answer in bytes with a scale and a zero point."""

    @dataclass
    class InBytes(Fixed):
        role: str = ""

        def run(self, frames: Sequence[Array]) -> list[Outputs]:
            scale, zero = 1 / 250, 3.0
            return [
                {self.role: Tensor(np.round(output[self.role].values / scale + zero).astype(np.uint8), scale, zero)}
                for output in super().run(frames)
            ]

    detector = in_place_of(bench.detector, InBytes(bench.detector.loaded, (544, 960, 3), PROBABILITY), bench.pool)
    recognizer = in_place_of(bench.recognizer, InBytes(bench.recognizer.loaded, (48, 320, 3), CLASS_SCORES), bench.pool)
    reader = TextReader(detector, recognizer, bench.alphabet, bench.host, 1000, 16)
    picture = read_rgb(photos / "invoice.jpg")
    expected = read(bench.reader(fixed_detector=True, fixed_recognizer=True), picture)
    lines = read(reader, picture)
    assert [line.text for line in lines] == [line.text for line in expected]
    assert len(lines) == 4
    for line, other in zip(lines, expected, strict=True):
        assert line.text_score == pytest.approx(other.text_score, abs=0.03)
        assert line.box_score == pytest.approx(other.box_score, abs=0.03)
