"""The helper process: the same pixels, its end when nobody waits, and what is said when it dies."""

import asyncio
import io
import os
import signal
import struct
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import hostile_pictures as hostile
import numpy as np
import pytest

from ml_target.errors import Unavailable, UnusableInput
from ml_target.imaging import outside
from ml_target.imaging.formats import probe
from ml_target.imaging.outside import Helper
from ml_target.imaging.picture import decode
from ml_target.imaging.structure import Structure
from ml_target.tensors import UInt8

T = TypeVar("T")
MOST = 200_000_000
SLOW = hostile.slow_jpeg(9000, 9000, 100)
"""Some seconds."""


def with_helper(use: Callable[[Helper], Awaitable[T]], room: int = 10**9) -> T:
    async def scenario() -> T:
        helper = Helper(room)
        try:
            return await asyncio.wait_for(use(helper), 60)
        finally:
            helper.close()

    return asyncio.run(scenario())


async def ask(helper: Helper, data: bytes) -> UInt8:
    async with helper.turn(len(data)):
        pixels, _ = await helper.decode(io.BytesIO(data), probe(data, MOST))
        return pixels


def process(helper: Helper) -> int:
    assert helper.process is not None
    return helper.process


async def started(helper: Helper) -> int:
    while helper.process is None:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)  # it is in the middle of decoding
    return helper.process


def gone(number: int) -> bool:
    return not Path(f"/proc/{number}").exists()


def test_every_format_has_the_same_pixels_outside() -> None:
    picture = hostile.photo(301, 203)

    async def use(helper: Helper) -> None:
        first = None
        for name, make in hostile.FORMS.items():
            data = make(picture)
            pixels = await ask(helper, data)
            np.testing.assert_array_equal(pixels, decode(data, MOST), name)
            assert not pixels.flags.writeable
            first = first or process(helper)
        assert process(helper) == first, "one process for all of them"

    with_helper(use)


def test_what_is_odd_about_a_file_is_no_line_between_those_of_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    """Pillow warns of a TIFF that ends within its table."""
    pixels, tags = bytes(20 * 10 * 3), ((256, 20), (257, 10), (258, 8), (262, 2), (273, 8), (277, 3), (279, 600))
    table = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags)
    data = b"II*\0" + struct.pack("<L", 8 + len(pixels)) + pixels + struct.pack("<H", len(tags)) + table
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        structure = probe(data, MOST)

    async def use(helper: Helper) -> UInt8:
        async with helper.turn(len(data)):
            return (await helper.decode(io.BytesIO(data), structure))[0]

    assert with_helper(use).shape == (10, 20, 3)
    assert capfd.readouterr().err == ""


def test_damaged_pictures_are_refused_as_in_the_worker_and_cost_no_process() -> None:
    data = hostile.FORMS["AVIF"](hostile.photo(300, 200))
    cut = data[: len(data) * 2 // 3]

    async def use(helper: Helper) -> None:
        with pytest.raises(UnusableInput, match=r"damaged|not a picture") as caught:
            await ask(helper, cut)
        assert caught.value.remedy
        assert str(caught.value) == f"{caught.value.reason}. {caught.value.remedy}"
        first = process(helper)
        assert (await ask(helper, data)).shape == (200, 300, 3)
        assert process(helper) == first

    with_helper(use)


def test_a_picture_larger_than_it_says_is_refused() -> None:
    data = hostile.FORMS["BMP"](hostile.photo(300, 200))

    async def use(helper: Helper) -> None:
        with pytest.raises(UnusableInput, match="300 x 200 pixels, its header says fewer"):
            await helper.decode(io.BytesIO(data), Structure("BMP", 30, 20, 10**6))

    with_helper(use)


def test_memory_beyond_the_count_is_not_had_and_not_the_picture_s_fault() -> None:
    data = hostile.FORMS["TGA"](hostile.photo(3000, 2000))

    async def use(helper: Helper) -> None:
        with pytest.raises(Unavailable, match=r"no memory left to decode.*MEMORY_MB"):
            await helper.decode(io.BytesIO(data), Structure("TGA", 3000, 2000, 10**6))
        assert (await ask(helper, data)).shape == (2000, 3000, 3)

    with_helper(use)


def test_the_helper_ends_when_nobody_waits_any_more() -> None:
    async def use(helper: Helper) -> None:
        asking = asyncio.create_task(ask(helper, SLOW))
        number = await started(helper)
        asking.cancel()
        before = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert time.monotonic() - before < 2
        assert gone(number)
        assert (await ask(helper, hostile.FORMS["GIF"](hostile.photo(30, 20)))).shape == (20, 30, 3)

    with_helper(use)


def test_closing_ends_it_in_the_middle() -> None:
    async def use(helper: Helper) -> None:
        asking = asyncio.create_task(ask(helper, SLOW))
        number = await started(helper)
        helper.close()
        assert gone(number)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    with_helper(use)


def test_the_helper_ends_when_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "IDLE_S", 0.1)

    async def use(helper: Helper) -> None:
        data = hostile.FORMS["GIF"](hostile.photo(30, 20))
        await ask(helper, data)
        number = process(helper)
        while not gone(number):
            await asyncio.sleep(0.05)
        await ask(helper, data)
        assert process(helper) != number

    with_helper(use)


@pytest.mark.parametrize(
    ("cause", "kind", "words"),
    [
        (signal.SIGSEGV, UnusableInput, "crashes its decoder .SIGSEGV"),
        (signal.SIGKILL, Unavailable, "lack of memory.*MEMORY_MB"),
    ],
)
def test_its_death_is_told_in_words(cause: signal.Signals, kind: type[Exception], words: str) -> None:
    async def use(helper: Helper) -> None:
        asking = asyncio.create_task(ask(helper, SLOW))
        os.kill(await started(helper), cause)
        with pytest.raises(kind, match=words):
            await asking
        assert (await ask(helper, hostile.FORMS["GIF"](hostile.photo(30, 20)))).shape == (20, 30, 3)

    with_helper(use)


def test_a_helper_that_died_idle_is_replaced() -> None:
    async def use(helper: Helper) -> None:
        data = hostile.FORMS["GIF"](hostile.photo(30, 20))
        await ask(helper, data)
        number = process(helper)
        os.kill(number, signal.SIGKILL)
        while Path(f"/proc/{number}/stat").read_text().split()[2] != "Z":
            await asyncio.sleep(0.01)
        assert (await ask(helper, data)).shape == (20, 30, 3)

    with_helper(use)


def test_one_that_cannot_be_started_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/no/such/python")

    async def use(helper: Helper) -> None:
        with pytest.raises(Unavailable, match="cannot be started"):
            await ask(helper, hostile.FORMS["GIF"](hostile.photo(30, 20)))

    with_helper(use)


def test_what_waits_is_bounded_by_its_uploads() -> None:
    async def use(helper: Helper) -> None:
        async with helper.turn(80):  # a large one alone may wait
            waiting = asyncio.create_task(_turn(helper, 20))
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="Too many pictures wait"):
                await _turn(helper, 1)
        await waiting
        await _turn(helper, 1000)

    with_helper(use, room=100)


async def _turn(helper: Helper, size: int) -> None:
    async with helper.turn(size):
        pass


def test_uploads_of_any_kind_of_file_are_read_from_their_start() -> None:
    data = hostile.FORMS["GIF"](hostile.photo(30, 20))

    async def use(helper: Helper) -> None:
        stream = io.BytesIO(data)
        stream.seek(7)
        pixels, milliseconds = await helper.decode(stream, probe(data, MOST))
        np.testing.assert_array_equal(pixels, decode(data, MOST))
        assert milliseconds >= 0

    with_helper(use)
