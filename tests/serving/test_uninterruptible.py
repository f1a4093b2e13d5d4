"""Work that nothing interrupts keeps its place among the requests until it ends, however it was given up."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from ml_target.api.inflight import InFlight
from ml_target.api.predict import _ClientGoneError, _unless_gone
from ml_target.errors import Unavailable
from ml_target.scheduling.threads import ThreadPool


class _Request:
    """A request whose client hangs up after `seconds`, as far as `_unless_gone` looks at it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def receive(self) -> dict[str, str]:
        await asyncio.sleep(self._seconds)
        return {"type": "http.disconnect"}


async def _watched(work: Awaitable[Any], seconds: float) -> Any:
    return await _unless_gone(_Request(seconds), work)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "around",
    [
        lambda work: work,
        lambda work: _watched(work, 60),  # the deadline comes first
        lambda work: _watched(work, 0.05),  # the client goes, then the deadline comes
    ],
    ids=["late", "late while watched", "gone, then late"],
)
def test_it_keeps_its_place_until_it_ends(around: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.api.inflight.LINGER_S", 0.1)

    async def check() -> None:
        gate, pool, inside = threading.Event(), ThreadPool(1), InFlight(1, 0.3)
        try:
            with pytest.raises(Unavailable, match="Not answered within"):
                await inside.run(around(pool.run(gate.wait, 30)))
            await asyncio.sleep(0.2)
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
        with pytest.raises(_ClientGoneError):
            await InFlight(1, 10).run(_watched(asyncio.sleep(60), 0.05))

    asyncio.run(asyncio.wait_for(check(), 20))
