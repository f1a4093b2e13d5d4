"""How the Hailo engine gets a simulated card going again, and what it believes after a loss."""

import contextlib
import gc
import itertools
import threading
from collections.abc import Callable

import numpy as np
import pytest
from hailo_engines import SMALL, Engines, attempt, lose, pictures, quick, slots
from hailo_sim import Rig
from hailo_worker import wait_until

from ml_target.engines.cost import BurstCost
from ml_target.engines.hailo import closing as hailo_closing
from ml_target.engines.hailo import cooling as hailo_cooling
from ml_target.engines.hailo import turns as hailo_turns
from ml_target.engines.hailo.network import HailoNetwork
from ml_target.engines.hailo.turns import Turns
from ml_target.errors import (
    BurstLost,
    DeviceError,
    Unavailable,
)

pytestmark = pytest.mark.usefixtures("no_card_here")


@pytest.mark.parametrize(
    ("fault", "opened"),
    [
        (lambda rig: rig.faults.kill("small"), 1),
        (lambda rig: rig.faults.fail_frames("small", status=36), 1),
        (lambda rig: rig.faults.fail_frames("small", 2, status=36), 2),
        (lambda rig: rig.faults.fail_frames("small", status=63), 2),  # a thermal stop: the next would abort nothing
        (lambda rig: rig.faults.abort_device(), 2),
    ],
    ids=["dead pipeline", "failed frame", "failed frames in a row", "aborted frame", "device-wide abort"],
)
def test_recovery_takes_the_least_step_that_helps(
    rig: Rig, engines: Engines, fault: Callable[[Rig], None], opened: int
) -> None:
    engine, small, big = engines.both()
    expected = [n.run(pictures(2))[1]["embedding"].values.copy() for n in (small, big)]
    fault(rig)
    lose(small)
    assert engine.recover(small) == ("reconfigured" if opened == 1 else "reopened")
    assert rig.record.opened == opened
    for loaded, values in zip((small, big), expected, strict=True):
        np.testing.assert_array_equal(loaded.run(pictures(2))[1]["embedding"].values, values)
    configured = rig.record.models["big"].configured
    engine.recover(small)
    engine.recover(big)
    assert rig.record.models["big"].configured == configured, "nothing was lost any more"


def test_a_burst_that_never_ends(rig: Rig, engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hailo_turns, "FLOOR_S", 0.5)
    engine, small, big = engines.both()
    for stubborn, opened in ((False, 1), (True, 2)):
        rig.faults.hang("big", stubborn=stubborn)
        lose(big)
        engine.recover(big)
        assert big.run(pictures(8))
        assert small.run(pictures(1))
        assert rig.record.opened == opened


def test_an_attempt_that_failed_half_way_is_taken_up_again(rig: Rig, engines: Engines) -> None:
    engine, small, big = engines.both()
    rig.faults.abort_device()
    lose(small)
    rig.faults.refuse_open(1, 74)
    with pytest.raises(DeviceError, match="OUT_OF_PHYSICAL_DEVICES"):
        engine.recover(small)
    rig.faults.refuse_configure(1, 71, "big")
    with pytest.raises(DeviceError, match="OUT_OF_FW_MEMORY"):
        engine.recover(small)
    assert (small.alive, big.alive) == (True, False)
    engine.recover(small)
    assert (small.alive, big.alive) == (True, True), "also what nobody has missed yet"


def test_the_only_network_comes_back_though_the_firmware_does_not_answer(rig: Rig, engines: Engines) -> None:
    """Which chip it is has been asked before; one question more, for the temperature, and none for the power."""
    engine = engines.start()
    loaded = engine.open(engines.file(SMALL), SMALL)
    assert isinstance(loaded, HailoNetwork)
    rig.faults.abort_device()
    lose(loaded)
    rig.faults.refuse_control(1000, 18)
    asked = rig.record.controls
    engine.recover(loaded)
    assert rig.record.controls == asked + 1
    assert loaded.run(pictures(1))


def test_a_hot_card_is_left_alone(rig: Rig, engines: Engines) -> None:
    engine, small, _ = engines.both()
    rig.faults.thermal_close(60)
    lose(small)
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"12\d degrees.*below 85.*heat sink"):
            engine.recover(small)
    assert rig.record.opened == 1
    rig.clock.spend(60)
    engine.recover(small)
    assert small.run(pictures(1))


def test_one_lost_network_waits_for_a_hot_card_too(rig: Rig, engines: Engines) -> None:
    engine, small, _ = engines.both()
    rig.faults.kill("small")
    lose(small)
    rig.celsius = 96.0
    with pytest.raises(DeviceError, match=r"97 degrees.*below 85"):
        engine.recover(small)
    assert rig.record.models["small"].configured == 1
    rig.celsius = 60.0
    engine.recover(small)
    assert (rig.record.opened, rig.record.models["small"].configured) == (2, 2), "a thermal stop, perhaps: opened anew"


def test_a_card_that_never_gets_cool_is_used_all_the_same(
    rig: Rig, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a hot case waiting would never end. Near the temperature at which it stops it is left alone for ever."""
    engine, small, _ = engines.both()
    rig.faults.kill("small")
    lose(small)
    rig.celsius = 103.0
    with pytest.raises(DeviceError, match="left alone"):
        engine.recover(small)
    rig.celsius = 92.0
    with pytest.raises(DeviceError, match="for 5 minutes"):
        engine.recover(small)
    engines.ahead += hailo_cooling.COOL_DOWN_S
    engine.recover(small)
    assert small.run(pictures(1))


# -------------------------------------- what the real library does after a loss


@pytest.mark.parametrize("fault", ["hang", "lose"], ids=["the card stands still", "the card goes on"])
def test_a_loss_nobody_is_told_of(rig: Rig, engines: Engines, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Its callback comes when the model is closed. Between that and configure() the GIL is left (no deadlock noted)."""
    quick(monkeypatch)
    engine, small, big = engines.both()
    expected = big.run(pictures(8))[7]["embedding"].values.copy()
    for turn in range(3):
        getattr(rig.faults, fault)("big")
        lose(big)
        engine.recover(big)
        assert rig.record.opened == 1
        assert rig.record.models["big"].configured == 2 + turn
        np.testing.assert_array_equal(big.run(pictures(8))[7]["embedding"].values, expected)
    assert small.alive
    assert not rig.record.crashes


def test_without_leaving_the_gil_it_would_freeze(rig: Rig, engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pause is for; with the real library 8 of 27 such calls never came back."""
    quick(monkeypatch)
    engine, _, big = engines.both()
    monkeypatch.setattr(hailo_closing, "SETTLE_S", 0.0)
    monkeypatch.setattr("hailo_sim.device.GIL_FREE", 60.0)
    rig.faults.hang("big")
    lose(big)
    engine.recover(big)
    assert rig.record.crashes == ["deadlock: configure() at once after close() of a model with frames in flight"]


def test_arrays_of_a_lost_burst_are_kept_until_the_model_has_gone(
    rig: Rig, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card's library writes to them when the model is closed, whoever has let them go by then."""
    quick(monkeypatch)
    engine, _, big = engines.both()
    others = slots()
    rig.faults.lose("big")
    lost = threading.Thread(target=attempt, args=(big, 4))
    lost.start()
    wait_until(lambda: rig.record.models["big"].submissions == 3)
    with contextlib.suppress(BurstLost):
        big.run(pictures(4))  # its callback lets the binding's guards of the lost burst go
    lost.join(10)
    gc.collect()
    assert slots() >= others + 4, "kept, and nobody's"
    engine.recover(big)
    assert not rig.record.crashes, "nothing was written to after it had been let go"
    assert big.run(pictures(8))
    assert slots() <= others + 8


def test_after_a_loss_no_other_burst_of_the_configuration_is_believed(rig: Rig, engines: Engines) -> None:
    """After an output that was not launched, later answers may be those of the frame before, with success."""
    _, _, big = engines.both()
    results: list[object] = []
    threads = [threading.Thread(target=lambda: results.append(attempt(big))) for _ in range(2)]
    with rig.virtual.held():
        rig.faults.fail_frames("big", 1)
        for thread in threads:
            thread.start()
        wait_until(lambda: rig.record.models["big"].submissions == 4)
    for thread in threads:
        thread.join(10)
    assert results == ["lost", "lost"]


def test_the_limit_follows_what_a_burst_is_expected_to_take() -> None:
    turns, cost = Turns(), BurstCost()
    assert turns.limit(cost, 8) == hailo_turns.CEILING_S, "nothing is known of the first one"
    for frames in (1, 8, 1, 8):
        cost.add(frames, 0.2 + frames * 0.1)
    assert turns.limit(cost, 8) == pytest.approx(hailo_turns.FACTOR * 1.0)
    assert turns.limit(cost, 1) == hailo_turns.FLOOR_S == 3.0
    assert Turns(shared=True).limit(cost, 1) == hailo_turns.CEILING_S == 12.0
    slow = BurstCost()
    slow.add(8, 5.0)
    assert turns.limit(slow, 8) == hailo_turns.CEILING_S


def test_the_time_of_a_burst_begins_when_the_card_can_have_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hailo_turns, "LOOK_S", 0.02)
    turns = Turns()
    first, second = turns.enter(), turns.enter()
    ended: list[bool] = []
    waiting = threading.Thread(target=lambda: ended.append(turns.wait(second, 0.1)))
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive(), "it waits for the one before"
    turns.leave(first)
    waiting.join(10)
    assert ended == [False]
    assert second.since > first.since
    turns.leave(second)
    two = Turns(cards=2)
    first, second = two.enter(), two.enter()
    assert not two.wait(second, 0.1), "another card can have begun at once"


def test_the_card_is_idle_once_the_end_of_its_bursts_is_told() -> None:
    """Not only when their threads have heard: a list for an idle card may be split, and costs its overhead twice."""
    turns = Turns()
    assert not turns.running
    first, second = turns.enter(), turns.enter()
    first.ended.set()
    assert turns.running
    second.ended.set()
    assert not turns.running
    turns.leave(first)
    turns.leave(second)
    turns.enter()
    assert turns.running


def test_a_standstill_of_the_whole_process_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was waited counts: here the clock jumps a minute ahead in every look, of which there are three."""
    jump = itertools.count()
    turns = Turns(clock=lambda: 60.0 * next(jump))
    turn = turns.enter()
    looks = iter([False, False, True])
    monkeypatch.setattr(turn.ended, "wait", lambda seconds: next(looks))
    assert turns.wait(turn, 3 * hailo_turns.LOOK_S)


def test_answers_that_differ_turn_the_network_off_and_it_comes_back(
    rig: Rig, engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    rig.faults.change_answers("small", flickers=True, until_reopened=False)
    engine, small, big = engines.both()
    assert "in different ways" in str(engine.doubt(small))
    assert engine.doubt(big) is None
    with pytest.raises(Unavailable, match=r"small: the card answered the same frame twice.*restart the worker"):
        small.run(pictures(1))
    assert big.run(pictures(2)), "the others go on"
    assert [r.levelname for r in caplog.records if "in different ways" in r.message] == ["ERROR"]
    rig.faults.heal_answers()
    rig.faults.abort_device()
    lose(big)
    engine.recover(big)
    assert engine.doubt(small) is None
    assert small.run(pictures(1))
    assert "its task is on" in caplog.text


@pytest.mark.parametrize(("until_reopened", "opened"), [(True, 2), (False, 2)])
def test_answers_that_differ_from_those_before_the_loss(
    rig: Rig, engines: Engines, until_reopened: bool, opened: int
) -> None:
    """Alike among themselves and still wrong: opening the card anew is tried at once."""
    engine, small, _ = engines.both()
    expected = small.run(pictures(1))[0]["embedding"].values.copy()
    rig.faults.change_answers("small", flickers=False, until_reopened=until_reopened)
    rig.faults.kill("small")
    lose(small)
    engine.recover(small)
    assert rig.record.opened == opened
    if until_reopened:
        np.testing.assert_array_equal(small.run(pictures(1))[0]["embedding"].values, expected)
        return
    assert "differently than before it was lost" in str(engine.doubt(small))
    with pytest.raises(Unavailable):
        small.run(pictures(1))
