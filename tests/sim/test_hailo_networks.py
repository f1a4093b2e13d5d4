"""Networks on a simulated card: what a frame has to be, what comes back, how bursts are sent."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hailo_engines import BIG, SIDE, SMALL, Engines, lose, network, pictures, slots
from hailo_sim import Rig, simulated
from hailo_sim.build import from_table
from hailo_sim.contracts import group_of
from hailo_worker import wait_until

from ml_target.catalogue.networks import SIGLIP
from ml_target.engines.hailo import network as network_module
from ml_target.errors import BurstLost, DeviceError, EngineFault
from ml_target.tensors import Array

pytestmark = pytest.mark.usefixtures("no_card_here")


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
    before, address = slots(), view.__array_interface__["data"][0] - 2 * view.itemsize
    del view
    again = [small.run(pictures(8, seed)) for seed in range(2)]
    addresses = {o["embedding"].values.__array_interface__["data"][0] for outputs in again for o in outputs}
    assert address in addresses, "its memory came back"
    assert slots() == before, "nothing was made or lost"


def test_bursts_are_not_split(rig: Rig, engines: Engines) -> None:
    _, _, big = engines.both()
    before = rig.record.models["big"].bursts.copy()
    for _ in range(20):
        big.run(pictures(8))
    bursts = rig.record.models["big"].bursts - before
    assert sum(frames * count for frames, count in bursts.items()) == 160
    assert bursts[8] >= 18, "on a busy machine a list may come after the frame that makes room for it"


def test_bursts_are_not_split_after_a_loss_with_bursts_in_flight(rig: Rig, engines: Engines) -> None:
    """What was in flight when the card was reopened must not count as being there for ever."""
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
    assert not engine._turns.running
    before = rig.record.models["big"].bursts.copy()
    for _ in range(20):
        big.run(pictures(8))
    assert (rig.record.models["big"].bursts - before)[8] >= 18, "as above"


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


def test_where_the_host_has_no_room_for_large_bursts_smaller_ones_do(
    engines: Engines, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.faults.refuse_configure(1, 84, "big")
    _, _, big = engines.both(batch=32)
    assert (big.batch, big.max_batch) == (8, 8)
    assert len(big.run(pictures(8))) == 8
    assert "big: no room for bursts of 32" in caplog.text
    assert "Set HAILO_BATCH=8 to end this warning" in caplog.text


def test_what_is_no_matter_of_size_is_tried_once(engines: Engines, rig: Rig) -> None:
    engine = engines.start(batch=32)
    rig.faults.refuse_configure(1, 71, "big")
    with pytest.raises(DeviceError, match="no memory left"):
        engine.open(engines.file(BIG, contexts=3), BIG)
    rig.faults.refuse_configure(2, 84, "small")
    with pytest.raises(DeviceError, match="Lower HAILO_BATCH"):
        engine.open(engines.file(SMALL), SMALL)


@pytest.mark.parametrize(("asked", "most"), [(32, 10), (4, 4)])
def test_the_most_frames_of_a_burst_go_by_their_size(
    engines: Engines, monkeypatch: pytest.MonkeyPatch, asked: int, most: int
) -> None:
    monkeypatch.setattr(network_module, "BURST_BYTES", 10 * (4 * 6 * 3 + 8) + 1)  # ten frames with their answers
    _, small, big = engines.both(batch=asked)
    assert small.batch == small.max_batch == big.max_batch == most
