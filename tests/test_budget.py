"""Budgets: served in turn, never overspent, and never a crowd that waits for itself."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from ml_target.config import Settings
from ml_target.errors import SettingsError
from ml_target.runtime.budget import MIB, Budget, Memory


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_share_that_grows_waits_for_room_and_passes_those_who_came_later() -> None:
    async def scenario() -> None:
        budget, order = Budget(10), []

        async def later() -> None:
            async with budget.hold(4):
                order.append("later")

        async with budget.hold(6), budget.hold(1) as growing:
            waiting = asyncio.create_task(later())
            await asyncio.sleep(0)
            assert budget.free == 3
            await growing.grow(3)
            order.append("grown")
            assert (growing.amount, budget.free) == (4, 0)
        await waiting
        assert order == ["grown", "later"]
        assert budget.free == 10

    run(scenario)


def test_half_filled_shares_never_wait_for_each_other() -> None:
    """Twenty uploads of up to 10 in a room of 12, a unit at a time: without a rule, all stop at the first 12 units."""

    async def scenario() -> None:
        budget, done = Budget(12, growing=10), []

        async def upload(number: int) -> None:
            async with budget.hold(0) as share:
                for _ in range(10 if number % 3 else 4):
                    await share.grow(1)
                    assert budget.free >= 0
                    await asyncio.sleep(0)
                share.shrink(share.amount)
                await asyncio.sleep(0.001)
                done.append(number)

        await asyncio.gather(*(upload(number) for number in range(20)))
        assert sorted(done) == list(range(20))
        assert budget.free == 12

    run(scenario)


def test_whoever_leaves_while_it_waits_takes_nothing_along() -> None:
    async def scenario() -> None:
        generator = random.Random(10)
        budget = Budget(50, growing=20)

        async def upload() -> None:
            async with budget.hold(0) as share:
                for _ in range(20):
                    await share.grow(1)
                    await asyncio.sleep(generator.random() / 1000)

        uploads = [asyncio.create_task(upload()) for _ in range(60)]
        for task in generator.sample(uploads, 30):
            await asyncio.sleep(0.001)
            task.cancel()
        ended = await asyncio.gather(*uploads, return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended)
        assert budget.free == 50

    run(scenario)


def test_a_turn_that_comes_as_its_holder_leaves_goes_to_the_next() -> None:
    async def scenario() -> None:
        budget, served = Budget(1), []

        async def use(name: str) -> None:
            async with budget.hold(1):
                served.append(name)

        async with budget.hold(1) as first:
            leaves, stays = asyncio.create_task(use("leaves")), asyncio.create_task(use("stays"))
            await asyncio.sleep(0.01)
            first.shrink(0)
            leaves.cancel()
            await asyncio.gather(leaves, stays, return_exceptions=True)
        assert served == ["stays"]
        assert budget.free == 1

    run(scenario)


def test_ordinary_ones_pass_the_patient_ones_within_their_kept_room() -> None:
    async def scenario() -> None:
        budget, order = Budget(100, kept=20), []

        async def use(name: str, amount: int, patient: bool = False) -> None:
            async with budget.hold(amount, patient):
                order.append(name)
                await asyncio.sleep(0.01)

        assert budget.largest == 80
        async with budget.hold(70, patient=True) as large:
            users = [asyncio.create_task(use("large", 500, patient=True))]
            await asyncio.sleep(0)
            users += [asyncio.create_task(use(f"small {n}", 10)) for n in range(4)]
            await asyncio.sleep(0)
            assert order == ["small 0", "small 1"], "the large one that waits keeps nobody from the kept room"
            await asyncio.sleep(0.1)
            assert order == ["small 0", "small 1", "small 2", "small 3"]
            large.shrink(0)
            await asyncio.gather(*users)
        assert order[-1] == "large"
        assert budget.free == 100

    run(scenario)


def test_a_crowd_of_ordinary_ones_does_not_starve_a_patient_one() -> None:
    async def scenario() -> None:
        budget, crowd = Budget(100, kept=20), []

        async def use() -> None:
            async with budget.hold(15):
                await asyncio.sleep(0.002)

        async def keep_coming() -> None:
            while True:
                crowd.append(asyncio.create_task(use()))
                await asyncio.sleep(0.0002)

        coming = asyncio.create_task(keep_coming())
        await asyncio.sleep(0.02)
        async with budget.hold(80, patient=True):
            coming.cancel()
        await asyncio.gather(*crowd)
        assert budget.free == 100

    run(scenario)


def test_the_setting_is_divided_so_that_work_always_goes_on() -> None:
    settings = Settings()
    memory = Memory.of(settings.memory_mb, settings.max_upload_mb)
    assert memory.uploads.total + memory.pictures.total == settings.memory_mb * MIB
    assert memory.uploads.total >= settings.max_upload_mb * MIB
    assert memory.pictures.largest >= settings.max_pixels * 7, "the largest JPEG or PNG that MAX_PIXELS lets in"
    least = Memory.of(256, 64)
    assert least.uploads.total == 64 * MIB
    assert least.pictures.largest > 128 * MIB


def test_uploads_that_would_take_the_room_of_the_pictures_are_refused_at_start() -> None:
    with pytest.raises(SettingsError, match=r"MAX_UPLOAD_MB=600 .* MEMORY_MB=1536.*at least 2400"):
        Settings.from_environment({"MAX_UPLOAD_MB": "600"})
    settings = Settings.from_environment({"MAX_UPLOAD_MB": "600", "MEMORY_MB": "2400"})
    assert settings.memory_mb == 2400
    with pytest.raises(SettingsError, match="MEMORY_MB=100: it takes"):
        Settings.from_environment({"MEMORY_MB": "100"})
