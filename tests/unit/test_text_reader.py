"""Reading text around its networks: memory, sizes, faults, warnings. The networks are made up."""

import tracemalloc
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import parity_table as parity
import pytest
from fake_text import LETTERS, Fake, bars, dark_is_text, fake_reader, one_letter
from text_reading import OPTIONS, read

from ml_target.catalogue.networks import CLASS_SCORES, OCR_CLASSES, OCR_DETECTION, OCR_RECOGNITION, PROBABILITY
from ml_target.engines import Intake
from ml_target.errors import EngineFault, ModelError
from ml_target.log.trace import Trace
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.read import CHUNK
from ml_target.tasks.ocr.reader import ReadOptions, TextReader
from ml_target.tensors import Array, Outputs, Tensor


@pytest.fixture(scope="module")
def threads() -> Iterator[tuple[ThreadPool, Arbiter]]:
    host, pool = ThreadPool(2), Arbiter(1)
    yield host, pool
    host.close()
    pool.close()


@pytest.mark.parametrize("fixed", [False, True])
def test_memory_is_bounded_on_dense_pages(threads: tuple[ThreadPool, Arbiter], fixed: bool) -> None:
    """Eighty lines would be 235 MB of probabilities at once."""
    recognizer = Fake(one_letter, Intake((48, 320 if fixed else None, 3), "uint8"))
    trace, picture = Trace(), bars(80, 300)
    reader = fake_reader(threads, Fake(dark_is_text), recognizer)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        lines = read(reader, picture, ReadOptions(max_resolution=10_000), trace)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    outputs = CHUNK // 8 * OCR_CLASSES * 4
    assert trace.counts == {"tiles": 1, "boxes": 80, "lines": 80}
    assert len(lines) == 80
    assert sum(shape[1] for shape in recognizer.frames) // 8 * OCR_CLASSES * 4 > 4 * outputs
    parity.record(
        f"OCR, 80 lines, {'48 x 320' if fixed else 'free'}", "memory beside the picture", f"{peak / 1e6:.0f} MB",
        f"≤ {outputs / 1e6:.0f} MB of outputs + 40 MB",
    )  # fmt: skip
    assert peak <= outputs + 40e6


def test_free_widths_fall_into_few_sizes(threads: tuple[ThreadPool, Arbiter]) -> None:
    recognizer = Fake(one_letter, Intake((48, None, 3), "uint8"))
    picture = np.full((1400, 1400, 3), 255, np.uint8)
    for n in range(40):
        picture[30 + 33 * n : 43 + 33 * n, 20 : 80 + 25 * n] = 0
    read(fake_reader(threads, Fake(dark_is_text), recognizer), picture, ReadOptions(max_resolution=2000))
    widths = {shape[1] for shape in recognizer.frames}
    assert len(recognizer.frames) == 40
    assert all(width % 64 == 0 and width >= 320 for width in widths)
    assert len(widths) < 30


def test_a_panorama_is_looked_at_smaller_with_words(threads: tuple[ThreadPool, Arbiter]) -> None:
    picture = np.full((736, 20_000, 3), 255, np.uint8)
    cv2.rectangle(picture, (15_000, 300), (16_000, 340), (0, 0, 0), -1)
    detector, trace = Fake(dark_is_text), Trace()
    [line] = read(fake_reader(threads, detector, Fake(one_letter)), picture, OPTIONS, trace)
    assert np.prod(detector.frames[0][:2]) <= 6_500_000
    assert "to bound memory" in trace.warnings[0]
    assert line.corners.mean(axis=0) == pytest.approx([15_500 / 20_000, 320 / 736], abs=0.01)


@pytest.mark.parametrize("which", ["detector", "recogniser"])
def test_what_is_not_a_number_is_a_fault(threads: tuple[ThreadPool, Arbiter], which: str) -> None:
    def broken(answer: Callable[[Array], Outputs]) -> Callable[[Array], Outputs]:
        return lambda frame: {role: Tensor(t.values * np.float32(np.nan)) for role, t in answer(frame).items()}

    detector = Fake(broken(dark_is_text) if which == "detector" else dark_is_text)
    recognizer = Fake(broken(one_letter) if which == "recogniser" else one_letter)
    with pytest.raises(EngineFault, match="not numbers"):
        read(fake_reader(threads, detector, recognizer), bars(4, 300))


def test_logits_of_the_detector_are_a_fault(threads: tuple[ThreadPool, Arbiter]) -> None:
    detector = Fake(lambda frame: {PROBABILITY: Tensor((frame[:, :, :1] < 128) * np.float32(9) - 4)})
    with pytest.raises(EngineFault, match=r"from 0 to 1.*models verify"):
        read(fake_reader(threads, detector, Fake(one_letter)), bars(4, 300))


def test_the_warning_names_what_lowered_the_scale(threads: tuple[ThreadPool, Arbiter]) -> None:
    """A picture that fills the only tile it may have, exactly."""
    host, pool = threads
    models = [
        Model(network, pool.queue(fake, network.name), Provenance("fake", "", "fake"))
        for network, fake in (
            (OCR_DETECTION, Fake(dark_is_text, Intake((544, 960, 3), "uint8"))),
            (OCR_RECOGNITION, Fake(one_letter)),
        )
    ]
    trace, picture = Trace(), np.full((1088, 1920, 3), 255, np.uint8)
    read(TextReader(models[0], models[1], LETTERS, host, 1000, 1), picture, ReadOptions(max_resolution=1088), trace)
    assert "960 x 544" in trace.warnings[0]
    assert "MAX_TEXT_TILES" in trace.warnings[0]


def test_blank_texts_go_with_their_boxes(threads: tuple[ThreadPool, Arbiter]) -> None:
    def only_spaces(frame: Array) -> Outputs:
        values = one_letter(frame)[CLASS_SCORES].values
        values[:, [7, -1]] = values[:, [-1, 7]]
        return {CLASS_SCORES: Tensor(values)}

    trace = Trace()
    reader = fake_reader(threads, Fake(dark_is_text), Fake(only_spaces))
    assert read(reader, bars(4, 300), OPTIONS, trace) == []
    assert trace.counts == {"tiles": 1, "boxes": 4, "lines": 0}


def test_another_dictionary_is_refused(threads: tuple[ThreadPool, Arbiter]) -> None:
    with pytest.raises(ModelError, match=r"18,385 classes and the dictionary stands for 3.*Replace the dictionary"):
        fake_reader(threads, Fake(dark_is_text), Fake(one_letter), Alphabet(("", "a", " ")))
