"""The memory of arriving bodies: charged as they arrive, and nobody waits for ever."""

import asyncio
import gc
import random
from collections.abc import Awaitable, Callable

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from ml_target.api.body import SMALL_BODY, Body, announced_size
from ml_target.api.uploads import STEP, Uploads
from ml_target.errors import TooLarge, TooSlow, UnusableInput

PATIENCE_S = 20


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), PATIENCE_S)

    asyncio.run(bounded())


def test_who_only_announces_holds_nobody_up() -> None:
    async def scenario() -> None:
        uploads = Uploads(10 * STEP)
        async with uploads.body(10 * STEP), uploads.body(10 * STEP), uploads.body(STEP) as small:
            await small.grow(STEP)
            assert uploads.free == 9 * STEP
        assert uploads.free == uploads.total

    run(scenario)


def test_two_halves_do_not_wait_for_each_other() -> None:
    """Each needs nine of ten: the older gets them, the younger waits until it has gone."""

    async def scenario() -> None:
        uploads = Uploads(10 * STEP)
        ended: list[str] = []

        async def upload(name: str, pause: float) -> None:
            async with uploads.body(9 * STEP) as share:
                for seen in range(STEP, 10 * STEP, STEP):
                    await share.grow(seen)
                    assert uploads.free >= 0
                    await asyncio.sleep(pause)
                share.complete(9 * STEP)
            ended.append(name)

        await asyncio.gather(upload("slow and first", 0.01), upload("fast and second", 0))
        assert ended == ["slow and first", "fast and second"]
        assert uploads.free == uploads.total

    run(scenario)


def test_who_had_to_wait_for_the_first_share_comes_after_those_who_had_theirs() -> None:
    """Age is counted from the first share: one that waited for it could not be sure to come to its end before them."""

    async def scenario() -> None:
        uploads = Uploads(10 * STEP)
        async with uploads.body(9 * STEP) as first, uploads.body(9 * STEP) as waiting, uploads.body(2 * STEP) as small:
            await first.grow(8 * STEP)
            late = asyncio.ensure_future(waiting.grow(2 * STEP))
            await asyncio.sleep(0)
            await small.grow(STEP)
            first.complete(5 * STEP)
            await late
            await small.grow(2 * STEP)  # two are free, and the one that waited comes later
            assert uploads.free == STEP

    run(scenario)


def test_what_is_announced_too_large_counts_as_the_whole() -> None:
    async def scenario() -> None:
        uploads = Uploads(2 * STEP)
        async with uploads.body(100 * STEP) as share:
            for seen in range(0, 100 * STEP, STEP):
                await share.grow(seen)
            assert uploads.free == 0
        assert uploads.free == 2 * STEP

    run(scenario)


def test_a_complete_body_gives_back_what_it_did_not_need() -> None:
    async def scenario() -> None:
        uploads = Uploads(10 * STEP)
        async with uploads.body(9 * STEP) as first:
            await first.grow(STEP + 1)
            assert uploads.free == 8 * STEP
            first.complete(STEP + 1)
            assert uploads.free == 9 * STEP - 1
            async with uploads.body(8 * STEP) as second:
                await second.grow(8 * STEP)  # which the unfinished first one would have forbidden

    run(scenario)


@pytest.mark.parametrize("seed", range(40))
def test_any_crowd_comes_to_its_end(seed: int) -> None:
    """Bodies of all sizes, some cut short, some given up while they wait: all end, nothing is overspent or lost."""

    async def scenario() -> None:
        choose = random.Random(seed)
        uploads = Uploads(8 * STEP)

        async def upload() -> None:
            size = choose.randint(1, 10) * STEP
            announced = choose.choice((size, 12 * STEP))
            async with uploads.body(announced) as share:
                seen = 0
                while seen < size and choose.random() > 0.03:
                    seen += choose.randint(1, STEP)
                    await share.grow(min(seen, size))
                    assert 0 <= uploads.free <= uploads.total
                    await asyncio.sleep(0)
                if choose.random() < 0.5:
                    share.complete(min(seen, size))
                    await asyncio.sleep(0)

        bodies = [asyncio.ensure_future(upload()) for _ in range(40)]
        await asyncio.sleep(0)
        for body in choose.sample(bodies, 8):
            body.cancel()
            await asyncio.sleep(0)
        ended = await asyncio.gather(*bodies, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended), ended
        assert uploads.free == uploads.total

    run(scenario)


# --------------------------------------------------------------------- bodies


def source(*pieces: bytes, more: bool = False, pause: float = 0.0) -> Callable[[], Awaitable[Message]]:
    """A `receive` that gives these pieces, then the end, or with `more` nothing any more."""
    left = list(pieces)

    async def receive() -> Message:
        await asyncio.sleep(pause)
        if not left and more:
            await asyncio.sleep(3600)
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left) or more}

    return receive


async def read(receive: Callable[[], Awaitable[Message]], limit: int = 10**9) -> tuple[bytes, Body]:
    async with Uploads(10**9).body(10**9) as share:
        body = Body(receive, limit, share)
        return b"".join([piece async for piece in body.pieces()]), body


def test_a_body_is_read_to_its_end() -> None:
    async def scenario() -> None:
        content, body = await read(source(b"ab", b"", b"c"))
        assert (content, body.seen, body.ended) == (b"abc", 3, True)

    run(scenario)


def test_a_body_is_counted_by_what_arrives() -> None:
    async def scenario() -> None:
        with pytest.raises(TooLarge, match="MAX_UPLOAD_MB"):
            await read(source(*[bytes(1000)] * 11), limit=10_000)

    run(scenario)


def test_a_sender_who_goes_away_ends_the_body() -> None:
    async def scenario() -> None:
        async def gone() -> Message:
            return {"type": "http.disconnect"}

        with pytest.raises(ClientDisconnect):
            await read(gone)

    run(scenario)


def test_a_body_leaves_nothing_for_the_garbage_collector() -> None:
    """Such as what watched the pace of each piece: it would keep the request, and a picture, for some time."""

    async def scenario() -> None:
        gc.collect()
        gc.disable()
        try:
            await read(source(*[b"x"] * 50))
            assert gc.collect() < 50
        finally:
            gc.enable()

    run(scenario)


def test_a_trickle_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.api.body.PACE_S", 0.3)
    monkeypatch.setattr("ml_target.api.body.PACE_BYTES", 100)

    async def scenario() -> None:
        with pytest.raises(TooSlow, match="Check the network"):
            await read(source(*[b"x"] * 1000, pause=0.02))
        with pytest.raises(TooSlow):
            await read(source(bytes(1000), more=True))  # a good beginning does not pay for what follows
        content, _ = await read(source(*[bytes(100)] * 40, pause=0.02))
        assert len(content) == 4000

    run(scenario)


def test_who_stands_still_makes_room_for_those_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute is fine while there is room for all."""
    monkeypatch.setattr("ml_target.api.body.CROWDED_S", 0.2)
    monkeypatch.setattr("ml_target.api.body.POLL_S", 0.05)

    async def scenario() -> None:
        uploads = Uploads(2 * STEP)

        async def still() -> None:
            async with uploads.body(2 * STEP) as share:
                async for _ in Body(source(bytes(STEP), bytes(STEP // 2), more=True), 10**9, share).pieces():
                    pass

        standing = asyncio.ensure_future(still())
        await asyncio.sleep(0.6)
        assert not standing.done()
        async with uploads.body(STEP) as other:
            await other.grow(STEP)
        with pytest.raises(TooSlow):
            await standing
        assert uploads.free == uploads.total

    run(scenario)


def test_waiting_for_room_is_not_the_senders_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.api.body.PACE_S", 0.2)

    async def scenario() -> None:
        uploads = Uploads(STEP)
        async with uploads.body(STEP) as first, uploads.body(STEP) as second:
            await first.grow(STEP)
            body = Body(source(*[bytes(SMALL_BODY)] * 3), 10**9, second)

            async def all_of_it() -> int:
                return sum([len(piece) async for piece in body.pieces()])

            reading = asyncio.ensure_future(all_of_it())
            await asyncio.sleep(0.6)
            assert not reading.done()
            first.complete(0)
            assert await reading == 3 * SMALL_BODY

    run(scenario)


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ([(b"content-length", b"12")], 12),
        ([(b"transfer-encoding", b"chunked")], 1000),
        ([], 0),
    ],
)
def test_announced_sizes(headers: list[tuple[bytes, bytes]], size: int) -> None:
    assert announced_size(headers, 1000) == size


def test_announcements_that_are_refused() -> None:
    with pytest.raises(TooLarge, match="MAX_UPLOAD_MB"):
        announced_size([(b"content-length", b"1001")], 1000)
    with pytest.raises(UnusableInput, match="Send one of them"):
        announced_size([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], 1000)
