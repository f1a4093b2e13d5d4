"""Faults by switch: what each looks like to the one who drives the card, and how it is cured (facts §7)."""

import importlib
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import tiny
from hailo_sim.driving import Driven, open_device, row, status_of


@pytest.fixture
def rig() -> Iterator[Rig]:
    with simulated(Rig(clock="virtual")) as made:
        yield made


@pytest.fixture
def hailo(rig: Rig) -> ModuleType:
    return importlib.import_module("hailo_platform")


@pytest.fixture
def device(hailo: ModuleType) -> Iterator[Any]:
    opened = open_device(hailo)
    yield opened
    opened.release()


def name(outcome: Any) -> str:
    """The kind of failure, "" for none."""
    failed = outcome.result()
    return "" if failed is None else type(failed).__name__


def again(driven: Driven) -> None:
    """Step 1 of the ladder: drop the configured model, configure again."""
    driven.close()
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
        reading: float = hailo.Device().control.get_chip_temperature().ts0_temperature
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
    control = hailo.Device().control
    rig.faults.unplug()
    for call in (driven.submit, driven.infer.configure, control.get_chip_temperature):
        with pytest.raises(Exception, match="hailort driver"):
            call()
    driven.close()
    device.release()
    assert hailo.Device.scan() == []
    with pytest.raises(hailo.HailoRTException) as caught:
        open_device(hailo)
    assert status_of(caught.value) == 74
    rig.faults.unplug(False)
    open_device(hailo).release()


@row("7.2 a stuck firmware control")
def test_control_fails(rig: Rig, hailo: ModuleType) -> None:
    rig.faults.refuse_control(1, 18)
    control = hailo.Device().control
    with pytest.raises(hailo.HailoRTException, match="libhailort control operation failed"):
        control.identify()
    assert control.identify().board_name == "Hailo-8"


@pytest.mark.parametrize("of", ["vdevice", "model"], ids="7.3 releasing the {} hangs".format)
def test_hanging_teardown(hailo: ModuleType, of: str) -> None:
    with simulated(Rig()) as rig:
        device = open_device(hailo)
        driven = Driven(device, tiny())
        driven.one()
        rig.faults.hang_teardown(of)

        def tear_down() -> None:
            driven.close()
            device.release()

        thread = threading.Thread(target=tear_down)
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        rig.faults.free_teardown()
        thread.join(5)
        assert not thread.is_alive()
        assert not rig.held


@row("2.5 slow calls take their time")
def test_slow_calls(rig: Rig, hailo: ModuleType) -> None:
    for call, seconds in (("open", 1), ("create", 2), ("configure", 4), ("control", 8)):
        rig.faults.slow(call, seconds)
    device = open_device(hailo)
    assert rig.clock.now() == 1
    Driven(device, tiny()).close()
    assert rig.clock.now() == 7
    hailo.Device().control.power_measurement()
    assert rig.clock.now() == 15
    device.release()


@row("9 faults from one line of text")
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
