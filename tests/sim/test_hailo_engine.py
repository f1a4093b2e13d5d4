"""The Hailo engine against a simulated card: what it asks for, refuses, keeps and gives back."""

import contextlib
import gc
import importlib
import itertools
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import from_table, tiny
from hailo_sim.contracts import group_of
from hailo_worker import wait_until

from ml_target.catalogue.networks import SIGLIP
from ml_target.catalogue.types import Network, PictureInput, Vector
from ml_target.engines.cost import BurstCost
from ml_target.engines.hailo import engine as hailo
from ml_target.engines.hailo import health as hailo_health
from ml_target.engines.hailo import slots as hailo_slots
from ml_target.engines.hailo import turns as hailo_turns
from ml_target.engines.hailo import watchdog as hailo_watchdog
from ml_target.engines.hailo.engine import CardSettings, HailoEngine
from ml_target.engines.hailo.network import HailoNetwork
from ml_target.engines.hailo.turns import Turns
from ml_target.engines.hailo.watchdog import in_time, with_file
from ml_target.errors import (
    EXIT_HUNG,
    BurstLost,
    CardHangs,
    DamagedFileError,
    DeviceError,
    EngineFault,
    ModelError,
    SettingsError,
    Unavailable,
)
from ml_target.tensors import Array

SIDE = (4, 6, 3)


def network(name: str, width: int = 8) -> Network:
    spec = PictureInput(SIDE[0], SIDE[1], "RGB", mean=(0.0,) * 3, std=(1.0,) * 3)
    return Network(name, "clip", "visual", spec, ((Vector("embedding", width),),), onnx=())


SMALL, BIG = network("small"), network("big")


@pytest.fixture(autouse=True)
def no_card_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that runs the tests may have a card of its own; it has no say here."""
    monkeypatch.setattr(hailo, "host_checks", lambda **_: [])


@pytest.fixture
def rig() -> Iterator[Rig]:
    with simulated(Rig(clock="virtual")) as made:
        yield made


class Engines:
    """Makes engines, and files of tiny networks; closes what was opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.left: list[int] = []
        self.opened: list[HailoEngine] = []

    def start(self, **card: Any) -> HailoEngine:
        engine = HailoEngine(CardSettings(**card), leave=self.left.append)
        self.opened.append(engine)
        engine.start()
        return engine

    def file(self, of: Network, **how: Any) -> Path:
        path = self.folder / f"{of.name}.hef"
        path.write_bytes(tiny(of.name, SIDE, **how))
        return path

    def both(self, **card: Any) -> tuple[HailoEngine, HailoNetwork, HailoNetwork]:
        """A small network, and a big one of several contexts, on one engine."""
        engine = self.start(**card)
        small = engine.open(self.file(SMALL), SMALL)
        big = engine.open(self.file(BIG, contexts=4), BIG)
        assert isinstance(small, HailoNetwork)
        assert isinstance(big, HailoNetwork)
        return engine, small, big


@pytest.fixture
def engines(rig: Rig, tmp_path: Path) -> Iterator[Engines]:
    made = Engines(tmp_path)
    yield made
    for engine in made.opened:
        engine.close()


def pictures(count: int, seed: int = 0) -> list[Array]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, *SIDE), np.uint8))


def slots() -> int:
    """Arrays with bindings, of all networks, that are not garbage."""
    gc.collect()
    return sum(type(each) is hailo_slots.Slot for each in gc.get_objects())


# ------------------------------------------------------------------- opening


def test_the_scheduler_is_asked_for(rig: Rig, engines: Engines) -> None:
    engine, _, _ = engines.both()
    (device,) = rig.devices()
    assert device.scheduled, "the binding's default is no scheduler"
    assert engine.chip == "hailo8"
    assert list(rig.held) == ["0000:01:00.0"]


def test_integers_come_back_as_the_file_quantises_them(rig: Rig, engines: Engines) -> None:
    engine = engines.start()
    for bits, kind in ((8, "uint8"), (16, "uint16")):
        of = network(f"bits{bits}")
        loaded = engine.open(engines.file(of, bits=bits), of)
        assert loaded.roles == {"embedding": (8,)}
        assert loaded.intake.shape == SIDE
        assert loaded.intake.dtype == "uint8"
        (output,) = loaded.run(pictures(1))
        tensor = output["embedding"]
        assert tensor.values.dtype == kind
        assert tensor.scale == pytest.approx(4 / (2**bits - 1))
        assert tensor.zero_point == 2 ** (bits - 1)
        real = tensor.real()
        assert real.dtype == np.float32
        np.testing.assert_allclose(real, (tensor.values - tensor.zero_point) * tensor.scale, rtol=1e-5)


def test_roles_of_a_real_contract(rig: Rig, engines: Engines) -> None:
    """A text tower's input is quantised here; whatever its tokens' arrangement, the frame is tokens x width."""
    path = engines.folder / "text.hef"
    path.write_bytes(from_table(group_of(SIGLIP.textual)))
    loaded = engines.start().open(path, SIGLIP.textual)
    assert loaded.intake.shape == (64, 768)
    assert loaded.intake.dtype == "float32"
    frame = np.random.default_rng(0).uniform(-1, 1, (64, 768)).astype(np.float32)
    (first,), (again,), (other,) = (loaded.run([each]) for each in (frame, frame.copy(), frame + 0.1))
    assert first["embedding"].values.shape == (768,)
    assert (first["embedding"].values != other["embedding"].values).any()
    np.testing.assert_array_equal(first["embedding"].values, again["embedding"].values)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((6, 4, 3), np.uint8),
        np.zeros(SIDE, np.float32),
        np.zeros((1, *SIDE), np.uint8),
        np.zeros(SIDE, np.int8),
    ],
    ids=["turned", "floats", "a batch axis", "signed"],
)
def test_a_wrong_frame_is_a_fault_and_the_network_lives_on(rig: Rig, engines: Engines, frame: Array) -> None:
    _, small, _ = engines.both()
    with pytest.raises(EngineFault, match=r"small takes uint8 \(4, 6, 3\)") as caught:
        small.run([*pictures(1), frame])
    assert not isinstance(caught.value, BurstLost)
    assert small.alive
    assert len(small.run(pictures(2))) == 2
    assert rig.record.models["small"].refused == 0
    assert rig.record.models["small"].configured == 1


def test_frames_the_binding_would_refuse_are_copied(rig: Rig, engines: Engines) -> None:
    _, small, _ = engines.both()
    (frame,) = pictures(1)
    (expected,) = small.run([frame])
    frozen = frame.copy()
    frozen.flags.writeable = False
    wide = np.repeat(frame, 2, axis=1)[:, ::2]
    assert not wide.flags.c_contiguous
    for variant in (frozen, wide, np.asfortranarray(frame)):
        (output,) = small.run([variant])
        np.testing.assert_array_equal(output["embedding"].values, expected["embedding"].values)


def test_frames_are_answered_in_order(rig: Rig, engines: Engines) -> None:
    _, small, big = engines.both()
    for loaded in (small, big):
        frames = pictures(8)
        alone = [loaded.run([frame])[0]["embedding"].values for frame in frames]
        for output, expected in zip(loaded.run(frames), alone, strict=True):
            np.testing.assert_array_equal(output["embedding"].values, expected)


# -------------------------------------------------------------- steady state


def test_bindings_and_arrays_are_reused(rig: Rig, engines: Engines) -> None:
    _, small, big = engines.both()
    for loaded, name in ((small, "small"), (big, "big")):
        for _ in range(5):
            loaded.run(pictures(8))
        made, kept = rig.record.models[name].bindings, slots()
        for turn in range(200):
            loaded.run(pictures(1 + turn % 8, turn))
        assert rig.record.models[name].bindings == made
        assert slots() == kept
    assert rig.record.models["big"].max_in_flight <= 8


def test_outputs_stay_valid_while_somebody_looks(rig: Rig, engines: Engines) -> None:
    _, small, _ = engines.both()
    (held,) = small.run(pictures(1, seed=1))
    view = held["embedding"].values[2:5]
    whole = held["embedding"].values.copy()
    del held
    for turn in range(50):
        small.run(pictures(8, turn + 2))
    np.testing.assert_array_equal(view, whole[2:5])
    before = slots()
    del view
    small.run(pictures(1))
    assert slots() == before, "the slot came back, nothing was made or lost"


def test_bursts_are_not_split(rig: Rig, engines: Engines) -> None:
    _, _, big = engines.both()
    before = rig.record.models["big"].bursts.copy()
    for _ in range(20):
        big.run(pictures(8))
    assert rig.record.models["big"].bursts - before == {8: 20}


def test_bursts_are_not_split_after_a_loss_with_bursts_in_flight(rig: Rig, engines: Engines) -> None:
    """What was in flight when the card was opened anew must not count as being there for ever."""
    engine, small, big = engines.both()
    rig.faults.hang("big")
    lost: list[Exception] = []

    def burst() -> None:
        try:
            big.run(pictures(2))
        except BurstLost as error:
            lost.append(error)

    thread = threading.Thread(target=burst)
    thread.start()
    wait_until(lambda: rig.record.models["big"].bursts[2] == 1)
    rig.faults.kill("small")
    lose(small)
    rig.faults.refuse_configure(1)
    engine.recover(small)
    assert rig.record.opened == 2
    thread.join(20)
    assert lost
    assert small.alive
    assert big.alive, "the late word of an old loss says nothing of the new configuration"
    assert (small.in_flight, big.in_flight) == (0, 0)
    before = rig.record.models["big"].bursts.copy()
    for _ in range(5):
        big.run(pictures(8))
    assert rig.record.models["big"].bursts - before == {8: 5}


@pytest.mark.parametrize("cards", [1, 3])
def test_in_flight_stays_within_the_queue(tmp_path: Path, cards: int) -> None:
    """More bursts at a time than the queue has room for: one waits for another, none kills the model."""
    with simulated(Rig(clock="virtual", cards=cards, queue_scale=8)) as rig:
        engines = Engines(tmp_path)
        engine, _, big = engines.both(batch=8, device_count=cards)
        assert len(rig.held) == cards
        assert big.max_batch == 8
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda: answers.extend(len(big.run(pictures(8))) for _ in range(20)))
            for _ in range(cards + 2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert answers == [8] * 20 * (cards + 2)
        assert rig.record.models["big"].max_in_flight <= 16
        assert rig.record.models["big"].configured == 1
        assert len(rig.record.busy) == cards, "every card worked"
        engine.close()
        assert not rig.held


# ------------------------------------------------------------- chips and cards


def test_a_hailo_8_file_is_refused_on_an_8l_before_it_is_configured(tmp_path: Path) -> None:
    with simulated(Rig(clock="virtual", chip="hailo8l")) as rig:
        engines = Engines(tmp_path)
        engine = engines.start()
        assert engine.chip == "hailo8l"
        file = engines.file(SMALL)
        with pytest.raises(ModelError, match=r"compiled for Hailo-8.*hailo8l"):
            engine.open(file, SMALL)
        assert rig.record.models["small"].configured == 0
        of = network("its_own")
        assert engine.open(engines.file(of, chip="hailo8l"), of).run(pictures(1))
        engine.close()


def test_several_8l_are_refused_with_the_remedy(tmp_path: Path) -> None:
    for card in (CardSettings(device_count=2), CardSettings(device_ids=("0000:01:00.0", "0000:02:00.0"))):
        with simulated(Rig(clock="virtual", chip="hailo8l", cards=2)) as rig:
            engine = HailoEngine(card)
            with pytest.raises(SettingsError, match=r"not several Hailo-8L\. Set HAILO_DEVICE_COUNT=1"):
                engine.start()
            engine.close()
            assert not rig.held


def test_cards_by_their_ids(tmp_path: Path) -> None:
    with simulated(Rig(clock="virtual", cards=3)) as rig:
        engines = Engines(tmp_path)
        ids = ("0000:02:00.0", "0000:03:00.0")
        engine, small, _ = engines.both(device_ids=ids)
        assert tuple(rig.held) == ids
        assert small.run(pictures(3))
        engine.close()
        assert not rig.held


def test_a_shared_card(tmp_path: Path) -> None:
    with simulated(Rig(clock="virtual", service="on")) as rig:
        engines = Engines(tmp_path)
        engine, small, _ = engines.both(group="photos")
        assert list(rig.groups) == ["photos"]
        assert small.run(pictures(3))
        engine.close()
    with simulated(Rig(clock="virtual")), pytest.raises(DeviceError, match=r"RPC_FAILED.*hailort\.service"):
        HailoEngine(CardSettings(group="photos")).start()


# ---------------------------------------------------------------- open failures


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (74, r"OUT_OF_PHYSICAL_DEVICES.*fuser.*--device=/dev/hailo0"),
        (73, r"DEVICE_IN_USE.*another program"),
        (36, r"DRIVER_OPERATION_FAILED.*--group-add"),
        (76, r"INVALID_DRIVER_VERSION.*one version"),
        (64, r"DRIVER_NOT_INSTALLED.*Install the driver"),
        (2, r"INVALID_ARGUMENT.*HAILO_DEVICE_IDS"),
        (16, r"UNSUPPORTED_FW_VERSION.*one version"),
        (3, r"OUT_OF_HOST_MEMORY.*[Ff]ewer models|OUT_OF_HOST_MEMORY.*Free memory"),
        (87, r"DRIVER_TIMEOUT.*modprobe"),
    ],
)
def test_every_failure_to_open_has_its_remedy(rig: Rig, status: int, words: str) -> None:
    rig.faults.refuse_open(1, status)
    engine = HailoEngine(CardSettings())
    with pytest.raises(DeviceError, match=words):
        engine.start()
    engine.start()
    engine.close()
    assert not rig.held


def test_a_card_that_does_not_say_what_it_is(rig: Rig) -> None:
    rig.faults.refuse_control(1, 18)
    engine = HailoEngine(CardSettings())
    with pytest.raises(DeviceError, match="FW_CONTROL_FAILURE"):
        engine.start()
    engine.close()
    assert not rig.held


@pytest.mark.parametrize(("status", "words"), [(71, "OUT_OF_FW_MEMORY.*Load fewer models"), (93, "another chip")])
def test_failures_to_configure_name_the_file(rig: Rig, engines: Engines, status: int, words: str) -> None:
    engine = engines.start()
    rig.faults.refuse_configure(1, status)
    with pytest.raises(DeviceError, match=rf"^small\.hef: .*{words}"):
        engine.open(engines.file(SMALL), SMALL)


def test_a_file_that_hailort_refuses_is_no_fault_of_the_card(rig: Rig, engines: Engines) -> None:
    engine = engines.start()
    rig.faults.refuse_configure(1, 26)
    with pytest.raises(DamagedFileError, match=r"small\.hef is refused: .*INVALID_HEF.*Fetch it again"):
        engine.open(engines.file(SMALL), SMALL)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hailo_platform", None)
    with pytest.raises(SettingsError, match=r"ENGINE=cpu.*ml_target\.doctor"):
        HailoEngine(CardSettings())


# ------------------------------------------------------------------ wrong files


def test_streams_that_the_library_sees_otherwise(rig: Rig, engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engines.start()
    api = importlib.import_module("hailo_sim.api_model")
    monkeypatch.setattr(api.ModelStream, "shape", property(lambda stream: [1, 2, 3]))
    with pytest.raises(ModelError, match=r"HailoRT sees the streams .* the file describes"):
        engine.open(engines.file(SMALL), SMALL)
    assert rig.record.models["small"].configured == 0


# -------------------------------------------------------------------- recovery


def lose(loaded: HailoNetwork) -> None:
    with pytest.raises(BurstLost):
        loaded.run(pictures(1))
    assert not loaded.alive


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
    engine.recover(small)
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
    monkeypatch.setattr(hailo, "COOL_DOWN_S", 0.0)
    rig.faults.kill("small")
    lose(small)
    rig.celsius = 103.0
    with pytest.raises(DeviceError, match="left alone"):
        engine.recover(small)
    rig.celsius = 92.0
    engine.recover(small)
    assert small.run(pictures(1))


# -------------------------------------- what the real library does after a loss


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hailo_turns, "FLOOR_S", 0.5)


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
    monkeypatch.setattr(hailo, "SETTLE_S", 0.0)
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


def attempt(loaded: HailoNetwork, frames: int = 2) -> str:
    try:
        loaded.run(pictures(frames))
    except BurstLost:
        return "lost"
    return "answered"


def test_a_card_that_is_gone_is_told_before_anything_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its interrupt thread has ended: the next configure() would freeze the process, so it does not come to that."""
    quick(monkeypatch)
    with simulated(Rig()) as rig:
        engine, small, _ = Engines(tmp_path).both()
        wait_until(lambda: hailo._threads(hailo.INTERRUPTS) == 1)
        small.run(pictures(1))
        rig.faults.vanish()
        lose(small)
        rig.faults.unplug(False)  # away for a moment only: worse than for ever
        with pytest.raises(CardHangs, match=r"interrupt thread has ended.*Only a new process"):
            engine.recover(small)
        assert not rig.record.crashes
        rig.faults.free_teardown()


def test_a_card_that_is_gone_is_told_before_a_release_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no model is on the card any more: an attempt to put the only one back has failed."""
    with simulated(Rig()) as rig:
        engines = Engines(tmp_path)
        engine = engines.start()
        only = engine.open(engines.file(SMALL), SMALL)
        assert isinstance(only, HailoNetwork)
        rig.faults.kill("small")
        lose(only)
        rig.faults.refuse_configure(2, 71, "small")
        with pytest.raises(DeviceError):
            engine.recover(only)
        assert rig.held
        monkeypatch.setattr(hailo, "_threads", lambda name: 0)
        engine._listeners = 1
        with pytest.raises(CardHangs, match="interrupt thread has ended"):
            engine.recover(only)
        assert rig.held


def test_a_standstill_of_the_whole_process_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock has gone on for longer than the limit, and the model is closed a moment later."""
    started = time.monotonic()
    closed = threading.Event()
    looks = iter([lambda: time.sleep(0.5), lambda: None, closed.set])
    wait = closed.wait
    monkeypatch.setattr(closed, "wait", lambda timeout: (next(looks)(), wait(0.0))[1])
    assert in_time(closed, 0.4)
    assert time.monotonic() - started > 0.4
    assert not in_time(threading.Event(), 0.2)


def test_a_slow_host_has_time_to_read_a_large_file(tmp_path: Path) -> None:
    """190 MB from a busy SD card: whoever leaves the process for that leaves it at every start."""
    large, small = tmp_path / "large.hef", tmp_path / "small.hef"
    with large.open("wb") as file:
        file.truncate(190_000_000)
    small.write_bytes(b"")
    assert with_file(large) >= 190_000_000 / 5_000_000 + 20
    assert with_file(small) == with_file(tmp_path / "gone") == hailo_watchdog.WATCH_S


def test_a_model_that_failed_to_load_is_closed(rig: Rig, engines: Engines) -> None:
    """Released over an open model, the library freezes or crashes."""
    engine = engines.start()
    rig.faults.fail_frames("small")
    with pytest.raises(DeviceError, match=r"the first one that it was given\. Restart the worker; if it comes back"):
        engine.open(engines.file(SMALL), SMALL)
    engine.close()
    assert not rig.record.crashes
    assert not rig.held


# --------------------------------------------------------- how long a burst may take


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


def test_a_standstill_of_the_whole_process_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was waited counts: here the clock jumps a minute ahead in every look."""
    jump = itertools.count()
    monkeypatch.setattr("ml_target.engines.hailo.turns.time.monotonic", lambda: 60.0 * next(jump))
    turns = Turns()
    turn = turns.enter()
    threading.Timer(0.3, turn.ended.set).start()
    assert turns.wait(turn, 3.0)


# ------------------------------------------------------- answers that change


def test_answers_that_differ_turn_the_network_off_and_it_comes_back(
    rig: Rig, engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    rig.faults.change_answers("small", flickers=True, until_reopened=False)
    engine, small, big = engines.both()
    assert "in different ways" in engine.doubt(small)
    assert engine.doubt(big) == ""
    with pytest.raises(Unavailable, match=r"small: the card answered the same frame twice.*restart the worker"):
        small.run(pictures(1))
    assert big.run(pictures(2)), "the others go on"
    assert [r.levelname for r in caplog.records if "in different ways" in r.message] == ["ERROR"]
    rig.faults.heal_answers()
    rig.faults.abort_device()
    lose(big)
    engine.recover(big)
    assert engine.doubt(small) == ""
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
    assert "otherwise than before it was lost" in engine.doubt(small)
    with pytest.raises(Unavailable):
        small.run(pictures(1))


# -------------------------------------------------------------------- teardown


def test_teardown_in_order_and_nothing_held(rig: Rig, engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    engine, small, _ = engines.both()
    kept = small.run(pictures(3))
    order: list[str] = []
    pipeline = importlib.import_module("hailo_sim.pipeline").Pipeline
    handle = importlib.import_module("hailo_sim.api_vdevice").Handle
    for owner, method, word in ((pipeline, "close", "model"), (handle, "release", "device")):
        real = getattr(owner, method)

        def noted(self: Any, *args: Any, real: Any = real, word: str = word, **kwargs: Any) -> Any:
            order.append(word)
            return real(self, *args, **kwargs)

        monkeypatch.setattr(owner, method, noted)
    engine.close()
    assert order.index("device") >= 2, "models first"
    assert not rig.held
    assert not rig.record.crashes
    wait_until(lambda: threading.active_count() <= before)
    assert len(kept) == 3, "answers outlive the card"
    assert kept[0]["embedding"].real().any()
    engine.close()
    assert engines.left == []


def test_a_model_that_cannot_be_closed_leaves_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hailo, "CLOSE_S", 0.2)
    with simulated(Rig()) as rig, caplog.at_level(logging.CRITICAL):
        engines = Engines(tmp_path)
        engine, small, _ = engines.both()
        small.run(pictures(1))
        rig.faults.hang_teardown("model")
        engine.close()
        assert engines.left == [EXIT_HUNG]
        assert EXIT_HUNG == 70
        assert "did not close a model within 0.2 s" in caplog.text
        assert "ends with status 70" in caplog.text
        assert rig.held, "nothing is released over an open model"
        with pytest.raises(CardHangs, match="ends with status 70"):
            engine.recover(small)
        rig.faults.free_teardown()
        wait_until(lambda: not any(t.name == "teardown" for t in threading.enumerate()))
        assert not rig.record.crashes


@pytest.mark.parametrize("hangs", ["configure", "release"])
def test_a_hang_that_holds_the_gil_ends_the_process(tmp_path: Path, hangs: str) -> None:
    """No Python code runs any more, neither a timer's nor a thread's; the log has said before what is to come."""
    script = tmp_path / "hang.py"
    script.write_text(HANG)
    path = os.pathsep.join([str(TESTS / "hailo_sim" / "site"), str(TESTS), str(TESTS.parents[1])])
    process = subprocess.run(
        [sys.executable, str(script), str(tmp_path), hangs],
        env=os.environ | {"PYTHONPATH": path, "HAILO_SIM_CRASH": "abort"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 1, process.stderr
    assert "frozen soon" in process.stdout
    assert "not reached" not in process.stdout
    word = {"configure": "configuring small", "release": "releasing the card"}[hangs]
    said, _, stacks = process.stderr.rpartition("Timeout (0:00:01)!")
    assert "Should HailoRT hang while it is opened, configured or closed, this process ends with status 1" in said
    assert said.rstrip().endswith(f"{word} (for 1 s at most)")
    assert "hailo_sim" in stacks


TESTS = Path(__file__).resolve().parents[1] / "support"
HANG = """
import logging
import sys
from pathlib import Path
import numpy as np
import hailo_platform
import hailo_sim.device
from hailo_sim.build import tiny
from hailo_sim.current import current
from ml_target.catalogue.types import Network, PictureInput, Vector
from ml_target.engines.hailo import engine as hailo
from ml_target.engines.hailo import watchdog as hailo_watchdog
from ml_target.errors import BurstLost

logging.basicConfig(level=logging.INFO)
hailo.host_checks = lambda **_: []
hailo_watchdog.WATCH_S = 1.0
folder, hangs = sys.argv[1:]
spec = PictureInput(4, 6, "RGB", mean=(0.0,) * 3, std=(1.0,) * 3)
network = Network("small", "clip", "visual", spec, ((Vector("embedding", 8),),), onnx=())
file = Path(folder) / "small.hef"
file.write_bytes(tiny("small", (4, 6, 3)))
engine = hailo.HailoEngine(hailo.CardSettings())
engine.start()
loaded = engine.open(file, network)
print("frozen soon", flush=True)
if hangs == "release":
    current().faults.hang_teardown("vdevice")
    engine.close()
else:
    hailo.SETTLE_S = 0.0
    hailo_sim.device.GIL_FREE = 60.0
    current().faults.lose("small")
    try:
        loaded.run([np.zeros((4, 6, 3), np.uint8)])
    except BurstLost:
        engine.recover(loaded)
print("not reached", flush=True)
"""


# ---------------------------------------------------------------------- health


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """Moves the time by which the card's health is asked for."""
    ahead = [0.0]
    real = time.monotonic
    monkeypatch.setattr("ml_target.engines.hailo.health.time.monotonic", lambda: real() + ahead[0])

    def move(seconds: float) -> None:
        ahead[0] += seconds

    yield move
    monkeypatch.undo()


def test_readings_are_cached(rig: Rig, engines: Engines, clock: Callable[[float], None]) -> None:
    engine = engines.start()
    assert engine.health() == {"temperature_c": 52.6, "power_w": 2.1}
    asked = rig.record.controls
    rig.celsius = 70.0
    for _ in range(100):
        assert engine.health()["temperature_c"] == 52.6
    assert rig.record.controls == asked
    clock(hailo_health.TEMPERATURE_EVERY_S)
    assert engine.health() == {"temperature_c": 70.6, "power_w": 2.1}
    assert rig.record.controls == asked + 1, "power is asked for less often: it suspends a protection for a moment"


def test_a_board_without_a_sensor_is_asked_for_power_once(
    tmp_path: Path, clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    with simulated(Rig(clock="virtual", power_sensor="none")) as rig, caplog.at_level(logging.INFO):
        engine = Engines(tmp_path).start()
        for _ in range(20):
            assert engine.health() == {"temperature_c": 52.6}
            clock(600)
        assert len(rig.record.messages) == 5, "five lines of HailoRT's, once"
        assert caplog.text.count("tells no power") == 1
        loaded = engine.open(Engines(tmp_path).file(SMALL), SMALL)
        assert isinstance(loaded, HailoNetwork)
        rig.faults.abort_device()
        lose(loaded)
        engine.recover(loaded)
        clock(600)
        engine.health()
        errors = [line for line in rig.record.messages if line.startswith("[error]")]
        assert len(errors) == 5, "it is the same board after reopening"
        engine.close()


def test_a_firmware_that_does_not_answer_is_left_alone_longer_and_longer(
    rig: Rig, engines: Engines, clock: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Each question stops every thread of the process: at most one a minute, then fewer."""
    engine = engines.start()
    assert engine.health()
    rig.faults.silence_firmware()
    asked, stops = rig.record.controls, list[int]()
    for seconds in range(0, 1800, 15):
        clock(15)
        before = rig.record.controls
        engine.health()
        if rig.record.controls > before:
            stops.append(seconds)
            assert rig.record.controls == before + 1, "one stop, not one each for temperature and power"
    assert rig.record.controls - asked == len(stops) <= 6
    apart = [later - earlier for earlier, later in itertools.pairwise(stops)]
    assert apart == sorted(apart)
    assert min(apart) >= 60
    assert max(apart) >= 480
    assert engine.health() == {}, "an old temperature does not stand for a new one"
    assert "asked again in 60 s" in caplog.text
    assert "power the host off and on" in caplog.text
    rig.faults.silence_firmware(False)
    clock(hailo_health.LONGEST_SILENT_S)
    assert engine.health() == {"temperature_c": 52.6, "power_w": 2.1}


def test_another_driver_is_told_before_the_card_is_touched(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hailo, "driver_version", lambda: "4.22.0")
    with pytest.raises(DeviceError, match=r"driver on the host is version 4\.22\.0, HailoRT here is 4\.23\.0"):
        HailoEngine(CardSettings()).start()
    assert rig.record.opened == 0
    monkeypatch.setattr(hailo, "driver_version", lambda: "4.23.0")
    engine = HailoEngine(CardSettings())
    engine.start()
    engine.close()
    assert rig.record.opened == 1
