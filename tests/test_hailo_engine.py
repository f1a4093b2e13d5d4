"""The Hailo engine against a simulated card: what it asks for, refuses, keeps and gives back."""

import contextlib
import gc
import importlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import from_table, tiny
from hailo_sim.contracts import group_of
from hailo_worker import wait_until

from ml_target.catalogue.networks import ARCFACE_R50, SIGLIP
from ml_target.catalogue.types import Network, PictureInput, Vector
from ml_target.engines import hailo, hailo_network
from ml_target.engines.hailo import EXIT_HUNG, CardSettings, HailoEngine
from ml_target.engines.hailo_network import HailoNetwork
from ml_target.errors import BurstLost, DeviceError, EngineFault, ModelError, SettingsError
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
    return sum(type(each) is hailo_network._Slot for each in gc.get_objects())


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


@pytest.mark.parametrize(
    ("status", "words"), [(71, "OUT_OF_FW_MEMORY.*Load fewer models"), (93, "another chip"), (26, "INVALID_HEF")]
)
def test_failures_to_configure_name_the_file(rig: Rig, engines: Engines, status: int, words: str) -> None:
    engine = engines.start()
    rig.faults.refuse_configure(1, status)
    with pytest.raises(DeviceError, match=rf"^small\.hef: .*{words}"):
        engine.open(engines.file(SMALL), SMALL)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hailo_platform", None)
    with pytest.raises(SettingsError, match=r"ENGINE=cpu.*ml_target\.doctor"):
        HailoEngine(CardSettings())


# ------------------------------------------------------------------ wrong files


def test_features_with_scales_of_their_own_are_refused(rig: Rig, engines: Engines) -> None:
    group = group_of(ARCFACE_R50)
    (stream,) = group.outputs
    scales = tuple(np.linspace(0.01, 0.02, 512).tolist())
    zeros = (stream.quant.zero_point,) * 512
    uneven = replace(stream, quant=replace(stream.quant, scales=scales, zero_points=zeros))
    path = engines.folder / "arcface_r50.hef"
    path.write_bytes(from_table(replace(group, outputs=(uneven,))))
    engine = engines.start()
    with pytest.raises(ModelError, match=r"arcface_r50.*(scale|quantis)"):
        engine.check(path, ARCFACE_R50)
    with pytest.raises(ModelError):
        engine.open(path, ARCFACE_R50)
    assert rig.record.models["arcface_r50"].configured == 0


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
        (lambda rig: rig.faults.fail_frames("small"), 1),
        (lambda rig: rig.faults.fail_frames("small", 2), 2),
        (lambda rig: rig.faults.abort_device(), 2),
    ],
    ids=["dead pipeline", "failed frame", "failed frames in a row", "device-wide abort"],
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
    monkeypatch.setattr(hailo_network, "BURST_TIMEOUT_S", 0.5)
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


def test_the_only_network_comes_back_after_a_card_that_did_not_answer(rig: Rig, engines: Engines) -> None:
    engine = engines.start()
    loaded = engine.open(engines.file(SMALL), SMALL)
    assert isinstance(loaded, HailoNetwork)
    rig.faults.abort_device()
    lose(loaded)
    rig.faults.refuse_control(4, 18)  # temperature, power, and twice the question which chip it is
    with pytest.raises(DeviceError, match="FW_CONTROL_FAILURE"):
        engine.recover(loaded)
    wait_until(lambda: recovered(engine, loaded))
    assert loaded.run(pictures(1))


def recovered(engine: HailoEngine, loaded: HailoNetwork) -> bool:
    with contextlib.suppress(DeviceError):
        engine.recover(loaded)
    return loaded.alive


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


@pytest.mark.parametrize("of", ["vdevice", "model"])
def test_a_hanging_teardown_leaves_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, of: str
) -> None:
    monkeypatch.setattr(hailo, "TEARDOWN_S", 0.2)
    with simulated(Rig()) as rig, caplog.at_level(logging.CRITICAL):
        engines = Engines(tmp_path)
        engine, small, _ = engines.both()
        small.run(pictures(1))
        rig.faults.hang_teardown(of)
        engine.close()
        assert engines.left == [EXIT_HUNG]
        assert EXIT_HUNG == 70
        assert "leaving so that it is freed" in caplog.text
        rig.faults.free_teardown()
        wait_until(lambda: not any(t.name == "teardown" for t in threading.enumerate()))
        assert not rig.held


# ---------------------------------------------------------------------- health


def test_readings_are_cached(rig: Rig, engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engines.start()
    assert engine.health() == {"temperature_c": 52.6, "power_w": 2.1}
    asked = rig.record.controls
    rig.celsius = 70.0
    for _ in range(100):
        assert engine.health()["temperature_c"] == 52.6
    assert rig.record.controls == asked
    now = time.monotonic() + hailo.HEALTH_EVERY_S
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert engine.health()["temperature_c"] == 70.6


def test_a_board_without_a_sensor(rig: Rig, engines: Engines) -> None:
    engine = engines.start()
    rig.faults.refuse_control(1)
    assert list(engine.health()) == ["power_w"]


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
