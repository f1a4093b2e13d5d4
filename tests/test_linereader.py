"""Dense pages: lines share bursts, the next ones are cut out while the device works, and nobody reads for the gone."""

import asyncio
import gc
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_ocr_parity import LETTERS, Fake, bars, one_letter

from ml_target.arbiter import Arbiter
from ml_target.catalogue.networks import OCR_DETECTION, OCR_RECOGNITION, TINYCLIP
from ml_target.engines import Intake
from ml_target.errors import EngineFault, ModelError
from ml_target.host import HostPool
from ml_target.linefinder import LineFinder
from ml_target.linereader import CHUNK, LineReader, Piece
from ml_target.models import Model, Provenance
from ml_target.tensors import Array, Float32, Outputs
from ml_target.trace import Trace

FIXED = Intake((48, 320, 3), "uint8")
FRAMES_A_CHUNK = CHUNK // 320


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
def threads() -> Iterator[tuple[HostPool, Arbiter]]:
    host, pool = HostPool(2), Arbiter(1)
    yield host, pool
    host.close()
    pool.close()


def slow(seconds: float = 0.0) -> Slow:
    network = Slow(one_letter, FIXED)
    network.bursts, network.seconds, network.began = [], seconds, threading.Event()
    return network


def reader(network: Fake, threads: tuple[HostPool, Arbiter]) -> LineReader:
    model = Model(OCR_RECOGNITION, network, threads[1], Provenance("fake", "", "fake"))
    return LineReader(model, LETTERS, threads[0])


def corners(count: int, width: int) -> Float32:
    """Of the lines on the page that `bars` draws."""
    boxes = []
    for n in range(count):
        x, y = 20 + (n % 2) * (width + 20), 20 + 30 * (n // 2)
        boxes.append([(x, y), (x + width, y), (x + width, y + 10), (x, y + 10)])
    return np.array(boxes, np.float32)


def test_windows_of_all_lines_fill_bursts(threads: tuple[HostPool, Arbiter]) -> None:
    network = slow()
    texts = asyncio.run(reader(network, threads).read(bars(100, 60), corners(100, 60), Trace()))
    assert len(texts) == 100
    assert sum(network.bursts) == len(network.frames) == 100
    assert network.bursts == [8] * 12 + [4]


def test_long_and_short_lines_mix_and_keep_their_places(threads: tuple[HostPool, Arbiter]) -> None:
    boxes = corners(30, 60)
    boxes[::3, 1:3, 0] += 400  # every third is nine windows long
    texts = asyncio.run(reader(slow(), threads).read(bars(30, 500), boxes, Trace()))
    letters = [len(text) for text, _ in texts]
    assert [n > 1 for n in letters] == [n % 3 == 0 for n in range(30)]


def test_the_next_lines_are_cut_out_while_the_device_works(
    threads: tuple[HostPool, Arbiter], monkeypatch: pytest.MonkeyPatch
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


def test_reading_ends_when_the_client_goes(threads: tuple[HostPool, Arbiter]) -> None:
    network = slow(0.05)

    async def leave() -> None:
        reading = asyncio.create_task(reader(network, threads).read(bars(800, 60), corners(800, 60), Trace()))
        await asyncio.to_thread(network.began.wait)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await asyncio.sleep(0.2)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(leave())
    assert len(network.frames) <= FRAMES_A_CHUNK


def test_a_fault_ends_the_page_and_is_told_once(threads: tuple[HostPool, Arbiter]) -> None:
    network = slow()

    def fail(frame: Array) -> Outputs:
        raise EngineFault("the card says no")

    network.answer = fail
    with pytest.raises(EngineFault, match="the card says no"):
        asyncio.run(reader(network, threads).read(bars(200, 60), corners(200, 60), Trace()))
    gc.collect()  # a task whose error nobody heard would warn now, and warnings are errors


def test_no_lines_ask_nobody(threads: tuple[HostPool, Arbiter]) -> None:
    network = slow()
    assert asyncio.run(reader(network, threads).read(bars(2, 60), np.empty((0, 4, 2), np.float32), Trace())) == []
    assert not network.frames


def test_networks_that_take_no_pictures_are_refused(threads: tuple[HostPool, Arbiter]) -> None:
    model = Model(OCR_DETECTION, slow(), threads[1], Provenance("fake", "", "fake"))
    text = replace(model, network=TINYCLIP.textual)
    with pytest.raises(ModelError, match="cannot read text"):
        LineReader(text, LETTERS, threads[0])
    with pytest.raises(ModelError, match="cannot find text"):
        LineFinder(text, threads[0], 1000, 16)
    with pytest.raises(ModelError, match="no output 'classes'"):
        LineReader(model, LETTERS, threads[0])
