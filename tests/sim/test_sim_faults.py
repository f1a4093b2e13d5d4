"""Faults by switch: what each looks like to the one who drives the card, and how it is cured (docs/hailort.md §7)."""

import gc
import itertools
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import tiny
from hailo_sim.driving import Driven, open_device, row, status_of

SETTLE = 0.1


def name(outcome: Any) -> str:
    """The kind of failure, "" for none."""
    failed = outcome.result()
    return "" if failed is None else type(failed).__name__


def again(driven: Driven) -> None:
    """Step 1 of the ladder: drop the configured model, leave the GIL for a moment, configure again."""
    driven.close()
    time.sleep(SETTLE)
    driven.model = driven.infer.configure()


@row("5.5 the next N frames fail, the model lives")
def test_frame_failures(rig: Rig, device: Any) -> None:
    one, other = Driven(device, tiny("scrfd_2_5g")), Driven(device, tiny("other"))
    rig.faults.fail_frames("scrfd_2.5g", 2, 4)  # file stem or network name
    assert name(other.submit()) == ""
    assert [name(one.submit()) for _ in range(3)] == ["HailoRTTimeout"] * 2 + [""]
    assert rig.record.models["scrfd_2_5g"].failed == 2
    one.close()
    other.close()


@row("7.2 a dead pipeline: its status from then on; configure() cures it")
def test_dead_pipeline(rig: Rig, device: Any) -> None:
    one, other = Driven(device, tiny("one")), Driven(device, tiny("other"))
    rig.faults.hang("one")
    flying = one.submit()
    rig.faults.kill("one", 36)
    assert name(flying) == "HailoRTDriverOperationFailedException"
    with pytest.raises(Exception, match="hailort driver") as caught:
        one.submit()
    assert status_of(caught.value) == 36
    assert name(other.submit()) == ""
    again(one)
    assert name(one.submit()) == ""
    one.close()
    other.close()


@pytest.mark.parametrize("stubborn", [False, True], ids=["5.5 cured by configure()", "5.5 cured by reopening alone"])
def test_a_burst_that_never_completes(rig: Rig, hailo: ModuleType, stubborn: bool) -> None:
    device = open_device(hailo)
    driven = Driven(device, tiny(contexts=2), 4)
    rig.faults.hang("tiny", stubborn=stubborn)
    lost = driven.submit(2)
    with pytest.raises(Exception, match="timeout"):
        lost.job.wait(60_000)
    assert not lost.done.is_set()
    again(driven)
    assert name(lost) == "HailoRTStreamAborted"
    waiting = driven.submit()
    if stubborn:
        with pytest.raises(Exception, match="timeout"):
            waiting.job.wait(60_000)
        driven.close()
        device.release()
        device = open_device(hailo)
        driven = Driven(device, tiny(contexts=2), 4)
        waiting = driven.submit()
    assert name(waiting) == ""
    driven.close()
    device.release()


@row("7.2 device-wide abort: all models 63, reopening cures it")
def test_device_abort(rig: Rig, hailo: ModuleType) -> None:
    device = open_device(hailo)
    models = [Driven(device, tiny(n)) for n in "ab"]
    with rig.virtual.held():
        flying = [m.submit() for m in models]
        rig.faults.abort_device()
    assert [name(f) for f in flying] == ["HailoRTStreamAborted"] * 2
    again(models[0])
    assert name(models[0].submit()) == "HailoRTStreamAborted"
    for model in models:
        model.close()
    device.release()
    device = open_device(hailo)
    healed = Driven(device, tiny("a"))
    assert name(healed.submit()) == ""
    healed.close()
    device.release()


@pytest.mark.parametrize("status", [74, 36, 76, 73], ids="5.5 opening fails with {} k times".format)
def test_opening_fails(rig: Rig, hailo: ModuleType, status: int) -> None:
    rig.faults.refuse_open(2, status)
    for _ in range(2):
        with pytest.raises(hailo.HailoRTException) as caught:
            open_device(hailo)
        assert status_of(caught.value) == status
    open_device(hailo).release()


@row("7.1 another program holds the card")
def test_busy(rig: Rig, hailo: ModuleType) -> None:
    rig.faults.occupy()
    with pytest.raises(hailo.HailoRTException) as caught:
        open_device(hailo)
    assert status_of(caught.value) == 74
    with pytest.raises(hailo.HailoRTException) as caught:
        open_device(hailo, device_ids=["0000:01:00.0"])
    assert status_of(caught.value) == 73
    hailo.Device().release()
    rig.faults.occupy(False)
    open_device(hailo).release()


@pytest.mark.parametrize("status", [71, 93, 26], ids="5.5 configure() fails with {}".format)
def test_configure_fails(rig: Rig, hailo: ModuleType, device: Any, status: int) -> None:
    rig.faults.refuse_configure(2, status, "tiny")
    Driven(device, tiny("other")).close()
    for _ in range(2):
        with pytest.raises(hailo.HailoRTException) as caught:
            Driven(device, tiny())
        assert status_of(caught.value) == status
    Driven(device, tiny()).close()


@row("7.4 too hot: streams closed until it has cooled")
def test_thermal_close(rig: Rig, hailo: ModuleType) -> None:
    device = open_device(hailo)
    driven = Driven(device, tiny())
    rig.faults.thermal_close(30)
    with pytest.raises(Exception, match="aborted"):
        driven.submit()
    assert any("Health Monitor" in line for line in rig.record.messages)
    driven.close()
    device.release()

    def degrees() -> float:
        with hailo.Device() as asked:
            reading: float = asked.control.get_chip_temperature().ts0_temperature
        return reading

    assert degrees() > 119
    device = open_device(hailo)
    driven = Driven(device, tiny())
    assert name(driven.submit()) == "HailoRTStreamAborted"
    driven.close()
    rig.clock.spend(30)
    assert degrees() == pytest.approx(52)
    driven = Driven(device, tiny())
    assert name(driven.submit()) == ""
    driven.close()
    device.release()


@row("7.2 off the bus: 36, and nothing to be found")
def test_unplugged(rig: Rig, hailo: ModuleType) -> None:
    device = open_device(hailo)
    driven = Driven(device, tiny())
    beside = hailo.Device()
    control = beside.control
    rig.faults.unplug()
    for call in (driven.submit, driven.infer.configure, control.get_chip_temperature):
        with pytest.raises(Exception, match="hailort driver"):
            call()
    driven.close()
    device.release()
    assert rig.record.crashes == ["deadlock: VDevice.release() waits for an interrupt thread that nobody wakes"]
    assert hailo.Device.scan() == []
    with pytest.raises(hailo.HailoRTException) as caught:
        open_device(hailo)
    assert status_of(caught.value) == 74
    rig.faults.unplug(False)
    open_device(hailo).release()


@row("7.2 a stuck firmware control")
def test_control_fails(rig: Rig, hailo: ModuleType) -> None:
    rig.faults.refuse_control(1, 18)
    beside = hailo.Device()
    control = beside.control
    with pytest.raises(hailo.HailoRTException, match="libhailort control operation failed"):
        control.identify()
    assert control.identify().board_name == "Hailo-8"


@row("7.3 closing a model hangs, without the GIL")
def test_hanging_close(hailo: ModuleType) -> None:
    with simulated(Rig()) as rig:
        device = open_device(hailo)
        driven = Driven(device, tiny())
        driven.one()
        rig.faults.hang_teardown("model")
        thread = threading.Thread(target=driven.close)
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        rig.faults.free_teardown()
        thread.join(5)
        assert not thread.is_alive()
        device.release()
        assert not rig.held


# -------------------------------------------- 9.2 what the real library showed


@row("9.2 configure() at once after close() with frames in flight: deadlock; not after a moment, nor beside others")
def test_configure_right_after_close(rig: Rig, device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Driven(device, tiny("one")), Driven(device, tiny("other"))
    for pause, wanted, deadlocks in ((0.0, 60.0, 1), (SETTLE, 0.05, 1)):
        monkeypatch.setattr("hailo_sim.device.GIL_FREE", wanted)
        rig.faults.hang("one")
        one.submit()
        one.close()
        time.sleep(pause)
        one.model = one.infer.configure()
        assert len(rig.record.crashes) == deadlocks
    assert rig.record.crashes == ["deadlock: configure() at once after close() of a model with frames in flight"]
    one.one()
    one.close()
    one.model = one.infer.configure()
    rig.faults.hang("other")
    other.submit()
    Driven(device, tiny("third")).close()
    assert len(rig.record.crashes) == 1, "an undisturbed model, and another model's frames, do no harm"
    one.close()
    other.close()


@row("9.2 release() with a model still open: deadlock or crash; with all closed, none")
def test_release_with_an_open_model(rig: Rig, hailo: ModuleType) -> None:
    device = open_device(hailo)
    driven = Driven(device, tiny())
    device.release()
    assert rig.record.crashes == ["deadlock: VDevice.release() with a model still open"]
    driven.close()
    device = open_device(hailo)
    driven = Driven(device, tiny())
    rig.faults.hang()
    driven.submit()
    driven.close()
    device.release()
    assert len(rig.record.crashes) == 1


@row("9.2 a lost burst: no callback before close(), the model ready; other models go on")
def test_lost_without_a_word(rig: Rig, device: Any) -> None:
    one, other = Driven(device, tiny("one")), Driven(device, tiny("other"))
    rig.faults.lose("one")
    lost = one.submit()
    with pytest.raises(Exception, match="timeout"):
        lost.job.wait(60_000)
    one.model.wait_for_async_ready(10, 1)
    assert name(other.submit()) == ""
    before = lost.bindings[0].output().get_buffer().copy()
    one.close()
    assert name(lost) == "HailoRTStreamAborted"
    after = lost.bindings[0].output().get_buffer()
    assert (before.tolist(), after.tolist()) == ([0] * 8, [0xA5] * 8), "written to when the model was closed"
    assert not rig.record.crashes
    other.close()


@row("9.2 arrays of a lost burst that were let go are written to at close()")
def test_late_write(rig: Rig, device: Any) -> None:
    """The binding's guards go in the order of callbacks: a later burst's callback lets go those of the lost one."""
    driven = Driven(device, tiny(contexts=2), 4)
    rig.faults.lose()
    driven.model.run_async(driven.frames(), lambda completion_info: None)
    kept = driven.submit()
    assert name(kept) == ""
    gc.collect()
    driven.close()
    assert rig.record.crashes == ["late write into an array of tiny that was let go"]


@row("9.2 card gone: no callback, close() hangs, calls give 36")
def test_card_gone(hailo: ModuleType) -> None:
    others = threads("CHANNEL_INTR")
    with simulated(Rig()) as rig:
        device = open_device(hailo)
        driven, idle = Driven(device, tiny()), Driven(device, tiny("idle"))
        driven.one()
        assert threads("CHANNEL_INTR") == others + 1
        rig.faults.vanish()
        lost = driven.submit()
        closing = threading.Thread(target=driven.close)
        closing.start()
        idle.close()  # nothing is owed there
        closing.join(0.2)
        assert closing.is_alive()
        assert not lost.done.is_set()
        deadline = time.monotonic() + 5
        while threads("CHANNEL_INTR") > others and time.monotonic() < deadline:
            time.sleep(0.01)
        assert threads("CHANNEL_INTR") <= others, "for good, also if the card comes back"
        for call in (idle.infer.configure, lambda: open_device(hailo)):
            with pytest.raises(hailo.HailoRTException):
                call()
        rig.faults.free_teardown()
        closing.join(5)
        rig.faults.unplug(False)
        idle.infer.configure().__exit__(None, None, None)
        assert rig.record.crashes[-1] == "deadlock: configure() waits for an interrupt thread that has ended"
        device.release()


def threads(called: str) -> int:
    """Threads of this process with a name of the library's."""
    return sum(comm.read_text().strip() == called for comm in Path("/proc/self/task").glob("*/comm"))


@row("9.2 a firmware that does not answer: every control call stops all threads for its second")
def test_silent_firmware(hailo: ModuleType) -> None:
    with simulated(Rig(clock=5)) as rig:
        device = hailo.Device()
        rig.faults.silence_firmware()
        ticks: list[float] = []
        stop = threading.Event()

        def tick() -> None:
            while not stop.wait(0.002):
                ticks.append(time.monotonic())

        thread = threading.Thread(target=tick)
        thread.start()
        time.sleep(0.05)
        with pytest.raises(hailo.HailoRTException) as caught:
            device.control.get_chip_temperature()
        stop.set()
        thread.join()
        assert status_of(caught.value) == 87
        assert max(b - a for a, b in itertools.pairwise(ticks)) >= 0.18, "five times faster here"


@row("9.2 thermal stop: some get 63, some nothing; configure() gives 8 until reopened")
def test_thermal_stop(rig: Rig, hailo: ModuleType) -> None:
    device = open_device(hailo)
    models = [Driven(device, tiny(n)) for n in "abc"]
    with rig.virtual.held():
        flying = [m.submit() for m in models]
        rig.faults.thermal_close(30)
    assert name(flying[0]) == "HailoRTStreamAborted"
    rig.clock.spend(60)
    assert not flying[1].done.is_set()
    models[1].model.wait_for_async_ready(10, 1)
    for model in models:
        model.close()
    time.sleep(SETTLE)
    with pytest.raises(hailo.HailoRTException) as caught:
        models[1].infer.configure()
    assert status_of(caught.value) == 8
    device.release()
    device = open_device(hailo)
    healed = Driven(device, tiny("b"))
    assert name(healed.submit()) == ""
    healed.close()
    device.release()


@row("6.1 answers are the same bit by bit, unless the card is at fault")
def test_changed_answers(rig: Rig, hailo: ModuleType) -> None:
    device = open_device(hailo)
    driven = Driven(device, tiny())
    right = driven.one(5).copy()
    assert (driven.one(5) == right).all()
    rig.faults.change_answers("tiny", False)
    other = driven.one(5).copy()
    assert (other != right).any()
    assert (driven.one(5) == other).all()
    rig.faults.change_answers("tiny", True)
    assert (driven.one(5) != driven.one(5)).any()
    driven.close()
    device.release()
    device = open_device(hailo)
    driven = Driven(device, tiny())
    assert (driven.one(5) == right).all()
    driven.close()
    device.release()


@row("9.2 an undisturbed model closes at once")
def test_undisturbed_close(hailo: ModuleType) -> None:
    with simulated(Rig()), open_device(hailo) as device:
        driven = Driven(device, tiny())
        driven.one()
        began = time.monotonic()
        driven.close()
        assert time.monotonic() - began < 1.0


@row("2.5 slow calls take their time")
def test_slow_calls(rig: Rig, hailo: ModuleType) -> None:
    for call, seconds in (("open", 1), ("create", 2), ("configure", 4), ("control", 8)):
        rig.faults.slow(call, seconds)
    device = open_device(hailo)
    assert rig.clock.now() == 1
    Driven(device, tiny()).close()
    assert rig.clock.now() == 7
    with hailo.Device() as beside:
        beside.control.power_measurement()
    assert rig.clock.now() == 15
    device.release()


@row("faults from one line of text")
def test_faults_as_text(rig: Rig, hailo: ModuleType) -> None:
    rig.faults.apply("refuse_open:1:36,fail_frames:tiny:1:4")
    with pytest.raises(hailo.HailoRTException) as caught:
        open_device(hailo)
    assert status_of(caught.value) == 36
    device = open_device(hailo)
    driven = Driven(device, tiny())
    assert [name(driven.submit()) for _ in range(2)] == ["HailoRTTimeout", ""]
    driven.close()
    device.release()
    with pytest.raises(AttributeError):
        rig.faults.apply("no_such_fault")


@pytest.mark.slow
@row("5.5 virtual time: thousands of bursts, nothing kept")
def test_soak(rig: Rig, device: Any) -> None:
    """Two models in turns, faults now and then; threads, frames and time as they should be."""
    models = [Driven(device, tiny(n, contexts=2), 4) for n in "ab"]
    frames = [m.frames(4) for m in models]
    before = threading.active_count()
    start = time.monotonic()
    failures = 0
    for turn in range(1000):
        if turn % 100 == 50:
            rig.faults.fail_frames("a")
        outcomes = [m.submit(f) for m, f in zip(models, frames, strict=True)]
        failures += sum(o.result() is not None for o in outcomes)
    assert failures == 10
    assert threading.active_count() <= before + 2
    assert all(not m.model._configured_infer_model.pipeline.outstanding for m in models)
    assert all(len(m.model._buffer_guards) <= 1 for m in models)
    assert rig.record.models["a"].completed == 4000
    assert rig.clock.now() > 20 > time.monotonic() - start
    for model in models:
        model.close()
    assert not rig.record.crashes
