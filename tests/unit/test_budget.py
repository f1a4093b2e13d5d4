"""Budgets: served in turn, never overspent, and nobody waits for ever."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from ml_target.config import Settings
from ml_target.errors import SettingsError
from ml_target.runtime.budget import MIB, Budget, Memory


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_a_turn_that_comes_as_its_holder_leaves_goes_to_the_next() -> None:
    async def scenario() -> None:
        budget, served = Budget(1), []

        async def use(name: str) -> None:
            async with budget.hold(1):
                served.append(name)

        async with budget.hold(1) as first:
            leaves, stays = asyncio.create_task(use("leaves")), asyncio.create_task(use("stays"))
            await asyncio.sleep(0)
            first.shrink(0)
            leaves.cancel()
            await asyncio.gather(leaves, stays, return_exceptions=True)
        assert served == ["stays"]
        assert budget.free == 1

    run(scenario)


def test_ordinary_ones_pass_the_patient_ones_within_their_kept_room() -> None:
    async def scenario() -> None:
        budget, order, enough = Budget(100, kept=20), [], asyncio.Event()

        async def use(name: str, amount: int, patient: bool = False) -> None:
            async with budget.hold(amount, patient):
                order.append(name)
                await enough.wait()

        assert budget.largest == 80
        async with budget.hold(70, patient=True) as large:
            last = asyncio.create_task(use("large", 500, patient=True))
            await asyncio.sleep(0)
            users = [asyncio.create_task(use(f"small {n}", 10)) for n in range(4)]
            await asyncio.sleep(0)
            assert order == ["small 0", "small 1"], "the large one that waits keeps nobody from the kept room"
            enough.set()
            await asyncio.gather(*users)
            assert order == ["small 0", "small 1", "small 2", "small 3"]
            large.shrink(0)
            await last
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
    assert memory.uploads + memory.pictures.total == settings.memory_mb * MIB
    assert memory.uploads >= settings.max_upload_mb * MIB
    assert memory.pictures.largest >= settings.max_pixels * 7, "the largest JPEG or PNG that MAX_PIXELS lets in"
    least = Memory.of(256, 64)
    assert least.uploads == 64 * MIB
    assert least.pictures.largest > 128 * MIB


def test_uploads_that_would_take_the_room_of_the_pictures_are_refused_at_start() -> None:
    with pytest.raises(SettingsError, match=r"MAX_UPLOAD_MB=600 .* MEMORY_MB=1536.*at least 2400"):
        Settings.from_environment({"MAX_UPLOAD_MB": "600"})
    settings = Settings.from_environment({"MAX_UPLOAD_MB": "600", "MEMORY_MB": "2400"})
    assert settings.memory_mb == 2400
    with pytest.raises(SettingsError, match="MEMORY_MB=100: it takes"):
        Settings.from_environment({"MEMORY_MB": "100"})
