"""Work that nothing interrupts keeps its place among the requests until it ends, however it was given up."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from ml_target.api.inflight import ClientGoneError, InFlight
from ml_target.errors import Unavailable
from ml_target.scheduling.threads import ThreadPool


async def _given_up(inside: InFlight, work: Coroutine[Any, Any, Any], gone_after: float | None) -> Any:
    """`work` as a request, whose client goes after so many seconds."""
    lost = asyncio.get_running_loop().create_future()
    if gone_after is not None:
        asyncio.get_running_loop().call_later(gone_after, lost.set_result, None)
    return await inside.run(work, lost)


@pytest.mark.parametrize(
    ("gone_after", "error", "words"),
    [
        (None, Unavailable, "Not answered within"),
        (60, Unavailable, "Not answered within"),
        (0.05, ClientGoneError, None),
    ],
    ids=["late", "late while watched", "gone, then late"],
)
def test_it_keeps_its_place_until_it_ends(
    gone_after: float | None, error: type[Exception], words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ml_target.api.inflight.LINGER_S", 0.1)

    async def check() -> None:
        gate, pool, inside = threading.Event(), ThreadPool(1), InFlight(1, 0.3)
        try:
            with pytest.raises(error, match=words):
                await _given_up(inside, pool.run(gate.wait, 30), gone_after)
            await asyncio.sleep(0.4)
            with pytest.raises(Unavailable, match="waiting already"):
                await inside.run(asyncio.sleep(0))
            await asyncio.wait_for(inside.stop(60, lambda: False), 5)  # nobody waits for an answer to it
            inside._ended = False
            gate.set()
            while True:
                with suppress(Unavailable):
                    return await inside.run(asyncio.sleep(0))
                await asyncio.sleep(0.02)
        finally:
            gate.set()
            pool.close()

    asyncio.run(asyncio.wait_for(check(), 20))


def test_a_client_that_goes_ends_what_can_be_interrupted() -> None:
    async def check() -> None:
        inside, ended = InFlight(1, 10), asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        with pytest.raises(ClientGoneError):
            await _given_up(inside, work(), 0.05)
        assert ended.is_set()
        assert await _given_up(inside, asyncio.sleep(0, "its place is free"), 0.05)

    asyncio.run(asyncio.wait_for(check(), 20))


def test_who_has_gone_before_the_work_began_is_not_served() -> None:
    async def check() -> None:
        lost = asyncio.get_running_loop().create_future()
        lost.set_result(None)
        with pytest.raises(ClientGoneError):
            await InFlight(1, 10).run(asyncio.sleep(60), lost)

    asyncio.run(asyncio.wait_for(check(), 20))
