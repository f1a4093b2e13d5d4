"""Dense pages: lines share bursts, the next ones are cut out while the device works, and nobody reads for the gone."""

import asyncio
import gc
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_text import LETTERS, Fake, bars, dark_is_text, one_letter

from ml_target.catalogue.networks import CLASS_SCORES, OCR_CLASSES, OCR_DETECTION, OCR_RECOGNITION, TINYCLIP
from ml_target.engines import Intake
from ml_target.errors import EngineFault, ModelError
from ml_target.log.trace import Trace
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.ocr.dbnet import MAX_CANDIDATES
from ml_target.tasks.ocr.find import LineFinder
from ml_target.tasks.ocr.read import CHUNK, LineReader, Piece
from ml_target.tensors import Array, Float32, Outputs, Tensor, UInt8

FIXED = Intake((48, 320, 3), "uint8")
FRAMES_A_CHUNK = CHUNK // 320
BLANK = np.zeros((48, 320, 3), np.uint8)
"""Once this one is answered, whatever was sent before it is answered or dropped."""


class Slow(Fake):
    """Takes its time, and notes the size of each burst."""

    bursts: list[int]
    seconds = 0.0
    began = threading.Event()

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        self.bursts.append(len(frames))
        self.began.set()
        time.sleep(self.seconds)
        return super().run(frames)


@pytest.fixture
def threads() -> Iterator[tuple[ThreadPool, Arbiter]]:
    host, pool = ThreadPool(2), Arbiter(1)
    yield host, pool
    host.close()
    pool.close()


def slow(seconds: float = 0.0) -> Slow:
    network = Slow(one_letter, FIXED)
    network.bursts, network.seconds, network.began = [], seconds, threading.Event()
    return network


def reader(network: Fake, threads: tuple[ThreadPool, Arbiter]) -> LineReader:
    model = Model(OCR_RECOGNITION, threads[1].queue(network, OCR_RECOGNITION.name), Provenance("fake", "", "fake"))
    return LineReader(model, LETTERS, threads[0])


def corners(count: int, width: int) -> Float32:
    """Of the lines on the page that `bars` draws."""
    boxes = []
    for n in range(count):
        x, y = 20 + (n % 2) * (width + 20), 20 + 30 * (n // 2)
        boxes.append([(x, y), (x + width, y), (x + width, y + 10), (x, y + 10)])
    return np.array(boxes, np.float32)


def test_windows_of_all_lines_fill_bursts(threads: tuple[ThreadPool, Arbiter]) -> None:
    network = slow()
    texts = asyncio.run(reader(network, threads).read(bars(100, 60), corners(100, 60), Trace()))
    assert len(texts) == 100
    assert sum(network.bursts) == len(network.frames) == 100
    assert network.bursts == [8] * 12 + [4]


def coloured(boxes: Float32) -> UInt8:
    """A page whose lines tell what they are: red, their number; green, how far to the right of their beginning."""
    page = np.full((*(boxes.max(axis=(0, 1)) + 20).astype(int)[::-1], 3), 255, np.uint8)
    for number, (left, top, right, bottom) in enumerate(boxes[:, [0, 2]].reshape(-1, 4).astype(int)):
        page[top:bottom, left:right, 0] = number
        page[top:bottom, left:right, 1] = np.arange(right - left) // 2
    return page


def what_it_is(frame: Array) -> Outputs:
    """The number of the line and its green at the frame's first column, as the letter in the middle of the frame."""
    values = np.zeros((frame.shape[1] // 8, OCR_CLASSES), np.float32)
    values[:, 0] = 1
    _, green, red = (int(n) for n in frame[24, 0])  # BGR
    values[len(values) // 2, [0, 1 + 256 * red + green]] = 0, 1
    return {CLASS_SCORES: Tensor(values)}


def test_a_chunk_waits_while_the_one_before_it_is_read(
    threads: tuple[ThreadPool, Arbiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where frames have one size, as a card's have: between two chunks the device has nothing to wait for."""
    network = slow()
    lines, run = reader(network, threads), network.run

    def held(frames: Sequence[Array]) -> list[Outputs]:
        """The first burst ends once more than its own chunk's frames wait."""
        end = time.monotonic() + 30
        while not network.frames and len(lines._recognizer.queue.waiting) < FRAMES_A_CHUNK:
            assert time.monotonic() < end, "the second chunk does not come"
            time.sleep(0.001)
        return run(frames)

    monkeypatch.setattr(network, "run", held)
    count = 3 * FRAMES_A_CHUNK
    assert len(asyncio.run(lines.read(bars(count, 60), corners(count, 60), Trace()))) == count


def test_chunks_that_are_read_in_another_order(threads: tuple[ThreadPool, Arbiter]) -> None:
    """Two are on their way, and two threads read them: windows are joined by where they are."""
    boxes, network = corners(2, 500), slow()
    network.answer = what_it_is
    lines = reader(network, threads)
    parts = asyncio.run(lines._parts(coloured(boxes), boxes, 1.0, Trace()))
    assert [len(line) > 2 for line in parts] == [True, True]
    texts = asyncio.run(lines._texts(parts, Trace()))
    assert asyncio.run(lines._texts([line[::-1] for line in parts], Trace())) == texts


def test_long_and_short_lines_mix_and_every_line_gets_its_own_text(threads: tuple[ThreadPool, Arbiter]) -> None:
    boxes = corners(30, 500)
    boxes[np.arange(30) % 3 != 0, 1:3, 0] -= 440  # every third is many windows long
    network = slow()
    network.answer = what_it_is
    texts = asyncio.run(reader(network, threads).read(coloured(boxes), boxes, Trace()))
    letters = [[divmod(LETTERS.symbols.index(letter) - 1, 256) for letter in text] for text, _ in texts]
    assert [{line for line, _ in text} for text in letters] == [{n} for n in range(30)]
    assert [len(text) > 7 for text in letters] == [n % 3 == 0 for n in range(30)]
    for n, text in enumerate(letters):
        places = [green for _, green in text]
        assert places[0] == 0, "the window at the beginning of the line"
        if n % 3:
            assert len(text) == 1
        else:
            assert all(0 < step <= 34 for step in np.diff([*places, 250])), "windows from left to right, to the end"


@pytest.mark.parametrize(("width", "frames"), [(320, 1), (330, 1), (350, 2)])
def test_a_line_a_little_too_wide_is_squeezed_into_one_frame(
    threads: tuple[ThreadPool, Arbiter], width: int, frames: int
) -> None:
    network = slow()
    ends: list[int] = []

    def note_end(frame: Array) -> Outputs:
        ends.append(int(frame[24, -1, 1]))
        return one_letter(frame)

    network.answer = note_end
    box = np.array([[(20, 20), (20 + width, 20), (20 + width, 68), (20, 68)]], np.float32)
    asyncio.run(reader(network, threads).read(coloured(box), box, Trace()))
    assert len(network.frames) == frames
    if frames == 1:
        assert ends == [pytest.approx((width - 1) // 2, abs=1)], "the end of the line is the end of the frame"


def test_lines_are_announced_while_they_are_cut_out(
    threads: tuple[ThreadPool, Arbiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a burst which is not full waits for them."""
    lines, events = reader(slow(), threads), list[str | int]()
    pieces, coming = lines._pieces, Model.coming

    @contextmanager
    def announced(model: Model, frames: int = 1) -> Iterator[None]:
        events.append(frames)
        with coming(model, frames):
            yield
        events.append("end")

    def noted(*args: Any) -> list[Piece]:
        events.append("cut")
        return pieces(*args)

    monkeypatch.setattr(Model, "coming", announced)
    monkeypatch.setattr(lines, "_pieces", noted)
    count = FRAMES_A_CHUNK + 3
    asyncio.run(lines.read(bars(count, 60), corners(count, 60), Trace()))
    assert events == [FRAMES_A_CHUNK, "cut", "end", 3, "cut", "end"]


def test_the_next_lines_are_cut_out_while_the_device_works(
    threads: tuple[ThreadPool, Arbiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first burst does not end before the second group of lines is being cut out."""
    network, cut = slow(), [threading.Event(), threading.Event()]
    lines = reader(network, threads)
    pieces, groups = lines._pieces, iter(cut)

    def noted(*args: Any) -> list[Piece]:
        if (event := next(groups, None)) is not None:
            event.set()
        return pieces(*args)

    def wait(frame: Array) -> Outputs:
        assert cut[1].wait(10)
        return one_letter(frame)

    network.answer = wait
    monkeypatch.setattr(lines, "_pieces", noted)
    texts = asyncio.run(lines.read(bars(2 * FRAMES_A_CHUNK, 60), corners(2 * FRAMES_A_CHUNK, 60), Trace()))
    assert len(texts) == 2 * FRAMES_A_CHUNK


def test_reading_ends_when_the_client_goes(threads: tuple[ThreadPool, Arbiter]) -> None:
    network = slow(0.05)
    lines = reader(network, threads)

    async def leave() -> None:
        reading = asyncio.create_task(lines.read(bars(800, 60), corners(800, 60), Trace()))
        await asyncio.to_thread(network.began.wait)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await lines._recognizer.infer([BLANK])
        left = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*left), 5)

    asyncio.run(leave())
    assert len(network.frames) - 1 <= FRAMES_A_CHUNK


@pytest.mark.parametrize("cause", ["the client goes", "the next lines cannot be cut out"])
def test_what_was_sent_is_dropped_when_reading_ends_meanwhile(
    threads: tuple[ThreadPool, Arbiter], monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    """The first chunk's first burst is on the device, and the second chunk is being cut out."""
    network, cutting, over = slow(), threading.Event(), threading.Event()
    lines = reader(network, threads)
    pieces, calls = lines._pieces, iter(range(10))

    def cut(*args: Any) -> list[Piece]:
        if next(calls) == 0:
            return pieces(*args)
        assert network.began.wait(10)
        cutting.set()
        if cause != "the client goes":
            raise ModelError("no more paper")
        return pieces(*args)

    def wait(frame: Array) -> Outputs:
        assert over.wait(10)
        return one_letter(frame)

    network.answer = wait
    monkeypatch.setattr(lines, "_pieces", cut)

    async def leave() -> None:
        count = 2 * FRAMES_A_CHUNK
        reading = asyncio.create_task(lines.read(bars(count, 60), corners(count, 60), Trace()))
        await asyncio.to_thread(cutting.wait)
        if cause == "the client goes":
            reading.cancel()
        with pytest.raises((asyncio.CancelledError, ModelError)):
            await asyncio.wait_for(reading, 5)
        assert not [task for task in asyncio.all_tasks() if "_recognise" in repr(task.get_coro())]
        over.set()
        await lines._recognizer.infer([BLANK])

    try:
        asyncio.run(leave())
    finally:
        over.set()
    assert network.bursts == [8, 1], "the one that was on the device, and the blank one"


def test_reading_does_not_end_before_its_work_does(
    threads: tuple[ThreadPool, Arbiter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second chunk cannot be cut out while the first is decoded: what that holds is not given back before."""
    lines, decoding, over = reader(slow(), threads), threading.Event(), threading.Event()
    pieces, calls, keep = lines._pieces, iter(range(10)), lines._keep

    def cut(*args: Any) -> list[Piece]:
        if next(calls) == 0:
            return pieces(*args)
        assert decoding.wait(10)
        raise ModelError("no more paper")

    def wait(*args: Any) -> None:
        decoding.set()
        assert over.wait(10)
        keep(*args)

    monkeypatch.setattr(lines, "_pieces", cut)
    monkeypatch.setattr(lines, "_keep", wait)

    async def end() -> None:
        count = 2 * FRAMES_A_CHUNK
        reading = asyncio.create_task(lines.read(bars(count, 60), corners(count, 60), Trace()))
        await asyncio.to_thread(decoding.wait)
        ended, _ = await asyncio.wait({reading}, timeout=0.2)
        over.set()
        with pytest.raises(ModelError, match="no more paper"):
            await reading
        assert not ended

    asyncio.run(end())


def test_a_fault_ends_the_page_and_is_told_once(
    threads: tuple[ThreadPool, Arbiter], caplog: pytest.LogCaptureFixture
) -> None:
    network = slow()

    def fail(frame: Array) -> Outputs:
        raise EngineFault("the card says no")

    network.answer = fail
    with pytest.raises(EngineFault, match="the card says no"):
        asyncio.run(reader(network, threads).read(bars(200, 60), corners(200, 60), Trace()))
    gc.collect()  # asyncio logs a task or a future whose error nobody heard when it goes
    assert not caplog.records


@pytest.mark.parametrize(("limit", "more"), [(10, 7), (MAX_CANDIDATES + 5, 2)])
def test_patches_that_were_not_looked_at_are_said(threads: tuple[ThreadPool, Arbiter], limit: int, more: int) -> None:
    """Specks, too small for a box: they count among what is looked at all the same."""
    count = max(limit, MAX_CANDIDATES) + more
    page = np.full((288, 416, 3), 255, np.uint8)
    for n in range(count):
        y, x = 10 + 10 * (n // 40), 10 + 10 * (n % 40)
        page[y : y + 2, x : x + 2] = 0
    detector = Model(
        OCR_DETECTION, threads[1].queue(Fake(dark_is_text), OCR_DETECTION.name), Provenance("fake", "", "fake")
    )
    trace = Trace()
    asyncio.run(LineFinder(detector, threads[0], limit, 16).find(page, 736, 0.5, trace))
    assert trace.counts["boxes"] == 0
    assert trace.warnings == [
        f"{more} patches of the picture that look like text were not looked at; "
        f"raise MAX_TEXT_LINES above {count - more}"
    ]


def test_no_lines_ask_nobody(threads: tuple[ThreadPool, Arbiter]) -> None:
    network = slow()
    assert asyncio.run(reader(network, threads).read(bars(2, 60), np.empty((0, 4, 2), np.float32), Trace())) == []
    assert not network.frames


def test_networks_that_take_no_pictures_are_refused(threads: tuple[ThreadPool, Arbiter]) -> None:
    model = Model(OCR_DETECTION, threads[1].queue(slow(), OCR_DETECTION.name), Provenance("fake", "", "fake"))
    text = replace(model, network=TINYCLIP.textual)
    with pytest.raises(ModelError, match=r"cannot read text\. Its entry in the catalogue is wrong: correct it"):
        LineReader(text, LETTERS, threads[0])
    with pytest.raises(ModelError, match=r"cannot find text\. Its entry in the catalogue is wrong: correct it"):
        LineFinder(text, threads[0], 1000, 16)
    with pytest.raises(ModelError, match=r"no output 'classes', .*\. Its entry in the catalogue is wrong: correct it"):
        LineReader(model, LETTERS, threads[0])
