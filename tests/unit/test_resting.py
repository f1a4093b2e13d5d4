"""What happens while nobody asks: on virtual time, with an engine that only notes what it is told."""

import asyncio
import logging
from typing import cast

import pytest
from virtual_loop import VirtualLoop, run

from ml_target.engines import Capabilities, Engine
from ml_target.errors import Unavailable
from ml_target.runtime.resting import REST_S, Resting

LOAD_S = 2.0


class Notes:
    """An engine. `told`: what it was told, with the time."""

    def __init__(self, *, unloads: bool = True) -> None:
        self.capabilities = Capabilities(unloads=unloads)
        self.told: list[tuple[str, float]] = []
        self.broken = False

    def rest(self) -> None:
        self._note("rest")

    def unload(self) -> None:
        self._note("unload")

    def reload(self) -> None:
        self._note("reload")
        cast(VirtualLoop, asyncio.get_running_loop()).spend(LOAD_S)
        if self.broken:
            raise Unavailable("x.onnx has gone", "Put it back.")

    def trim(self) -> None:
        self._note("trim")

    def _note(self, what: str) -> None:
        self.told.append((what, round(asyncio.get_running_loop().time(), 2)))

    def rests(self, ttl: float) -> Resting:
        return Resting([cast(Engine, self)], ttl, self.trim)


def where(resting: Resting) -> str:
    return resting.networks


async def one(resting: Resting, seconds: float = 0.0) -> str:
    async with resting.request():
        await asyncio.sleep(seconds)
        return resting.networks


def test_memory_goes_back_a_few_seconds_after_the_last_request() -> None:
    async def work() -> None:
        engine = Notes()
        resting = engine.rests(0)
        for _ in range(3):
            await one(resting, 1.0)
            await asyncio.sleep(REST_S / 2)
        assert engine.told == []
        await asyncio.gather(one(resting, 20.0), one(resting, 1.0))
        assert engine.told == [], "a request is still being served"
        ended = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        assert engine.told == [("rest", ended + REST_S), ("trim", ended + REST_S)], "once, and nothing is unloaded"
        assert where(resting) == "loaded"
        resting.close()

    run(work, 10_000)


def test_after_the_time_networks_are_unloaded_and_the_next_requests_wait_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def work() -> None:
        engine, loop = Notes(), asyncio.get_running_loop()
        resting = engine.rests(60)
        resting.watch()
        await asyncio.sleep(59)
        assert "unload" not in dict(engine.told)
        await asyncio.sleep(2)
        assert where(resting) == "unloaded"
        assert engine.told[2:] == [("unload", 60.0), ("trim", 60.0)]
        began = loop.time()
        asked = asyncio.gather(*(one(resting) for _ in range(4)))
        await asyncio.sleep(LOAD_S / 2)
        assert where(resting) == "loading"
        assert await asked == ["loaded"] * 4
        assert loop.time() == began + LOAD_S
        assert [what for what, _ in engine.told].count("reload") == 1
        await asyncio.sleep(61)
        assert where(resting) == "unloaded", "as often as it happens"
        resting.close()

    run(work, 10_000)
    assert "no request for 60 s: the networks are unloaded" in caplog.text
    assert "a request has come: loading the networks again" in caplog.text


def test_a_failure_to_load_again_is_told_to_everybody_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        engine = Notes()
        resting = engine.rests(10)
        resting.watch()
        await asyncio.sleep(11)
        engine.broken = True
        outcomes = await asyncio.gather(one(resting), one(resting), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["x.onnx has gone. Put it back."] * 2
        assert outcomes[0] is not outcomes[1]
        engine.broken = False
        assert await one(resting) == "loaded"
        resting.close()

    run(work)
    assert "x.onnx has gone" in caplog.text


def test_a_request_that_is_given_up_does_not_stop_the_loading() -> None:
    async def work() -> None:
        resting = Notes().rests(10)
        resting.watch()
        await asyncio.sleep(11)
        asked = asyncio.create_task(one(resting))
        await asyncio.sleep(LOAD_S / 2)
        asked.cancel()
        await asyncio.sleep(LOAD_S)
        assert where(resting) == "loaded"
        resting.close()

    run(work)


def test_networks_on_a_card_stay() -> None:
    async def work() -> None:
        engine = Notes(unloads=False)
        resting = engine.rests(10)
        resting.watch()
        await asyncio.sleep(100)
        assert [what for what, _ in engine.told] == ["rest", "trim"]
        resting.close()

    run(work)
