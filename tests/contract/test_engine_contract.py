"""What every engine must do, tried on two small networks: over ONNX Runtime, and over HailoRT on the simulated card."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from engine_kits import KITS, MEANS, NEGATIVES, Kit, mean_of

from ml_target.catalogue.needs import EngineName
from ml_target.catalogue.networks import NETWORKS, SCRFD_2_5G
from ml_target.catalogue.types import Network, Vector
from ml_target.engines import LoadedNetwork
from ml_target.errors import BurstLost, DamagedFileError, EngineFault, ModelError
from ml_target.tensors import Array


@pytest.fixture(params=KITS)
def kit(request: pytest.FixtureRequest) -> Iterator[Kit]:
    with KITS[request.param]() as made:
        yield made
        made.engine.close()


@pytest.fixture
def means(kit: Kit, tmp_path: Path) -> LoadedNetwork:
    """The network for pictures, on an engine that has started."""
    kit.engine.start()
    return kit.engine.open(kit.file(tmp_path, MEANS), MEANS)


def pictures(count: int, seed: int = 0) -> list[Array]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 4, 6, 3), np.uint8))


def take(kit: Kit, file: Path, network: Network) -> LoadedNetwork:
    """As the worker does."""
    kit.engine.check(file, network)
    return kit.engine.open(file, network)


def test_every_engine_has_a_kit() -> None:
    assert set(KITS) == set(get_args(EngineName))


def test_an_engine_says_what_it_is_before_it_starts(kit: Kit) -> None:
    assert kit.engine.name in KITS
    assert kit.engine.device.startswith("the ")
    assert kit.engine.capabilities.lanes >= 1
    for network in NETWORKS:
        files = kit.engine.files(network)
        assert all(file in (*network.onnx, *network.hef.values()) for file in files)
        assert files or not network.hef


def test_pictures_come_as_bytes_and_answers_by_role(kit: Kit, means: LoadedNetwork) -> None:
    assert (means.intake.shape, means.intake.dtype, means.intake.is_ids) == ((4, 6, 3), "uint8", False)
    assert means.roles == {"embedding": (3,)}
    for frame in pictures(3):
        (output,) = means.run([frame])
        assert set(output) == {"embedding"}
        real = output["embedding"].real()
        assert real.dtype == np.float32
        np.testing.assert_allclose(real, mean_of(frame), atol=kit.rounding * 10)


def test_texts_come_as_embeddings_and_leave_as_states_of_every_token(kit: Kit, tmp_path: Path) -> None:
    kit.engine.start()
    network = kit.engine.open(kit.file(tmp_path, NEGATIVES), NEGATIVES)
    assert (network.intake.shape, network.intake.dtype, network.intake.is_ids) == ((5, 3), "float32", False)
    assert network.roles == {"tokens": (5, 3)}
    frame = np.linspace(-0.9, 0.9, 15, dtype=np.float32).reshape(5, 3)
    np.testing.assert_allclose(network.run([frame])[0]["tokens"].real(), -frame, atol=kit.rounding)


def test_a_burst_is_answered_in_order_and_as_each_frame_alone(means: LoadedNetwork) -> None:
    frames = pictures(means.max_batch)
    alone = [means.run([frame])[0]["embedding"].real() for frame in frames]
    for output, expected in zip(means.run(frames), alone, strict=True):
        np.testing.assert_allclose(output["embedding"].real(), expected, rtol=1e-6)


def test_an_answer_stays_as_it_is_for_as_long_as_somebody_has_it(means: LoadedNetwork) -> None:
    kept = [output["embedding"].values for frame in pictures(2) for output in means.run([frame])]
    before = [values.copy() for values in kept]
    for seed in range(1, 20):
        means.run(pictures(means.max_batch, seed))
    for values, expected in zip(kept, before, strict=True):
        np.testing.assert_array_equal(values, expected)


def test_frames_that_may_not_be_written_or_are_views_are_taken_and_left_alone(means: LoadedNetwork) -> None:
    (frame,) = pictures(1)
    expected = means.run([frame.copy()])[0]["embedding"].real()
    frozen = frame.copy()
    frozen.flags.writeable = False
    wide = np.repeat(frame, 2, axis=1)[:, ::2]
    for variant in (frozen, wide, np.asfortranarray(frame)):
        np.testing.assert_array_equal(means.run([variant])[0]["embedding"].real(), expected)
        np.testing.assert_array_equal(variant, frame)


def test_several_threads_may_ask_at_once(means: LoadedNetwork) -> None:
    size = min(3, means.max_batch)
    expected = {seed: [o["embedding"].real() for o in means.run(pictures(size, seed))] for seed in range(4)}
    wrong: list[int] = []

    def ask(seed: int) -> None:
        for _ in range(10):
            outputs = [o["embedding"].real() for o in means.run(pictures(size, seed))]
            if not np.allclose(outputs, expected[seed], rtol=1e-6):
                wrong.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong


def test_a_frame_of_another_size_is_a_fault_of_its_own_and_the_network_lives_on(means: LoadedNetwork) -> None:
    with pytest.raises(EngineFault, match=r"channel_means .*\(5, 6, 3\)") as caught:
        means.run([np.zeros((5, 6, 3), np.uint8)])
    assert not isinstance(caught.value, BurstLost), "a frame that fits would have been answered"
    assert len(means.run(pictures(1))) == 1


def test_a_file_of_another_network_stops_the_start(kit: Kit, tmp_path: Path) -> None:
    kit.engine.start()
    path = kit.file(tmp_path, MEANS)
    for network in (SCRFD_2_5G, replace(MEANS, forms=((Vector("embedding", 4),),)), NEGATIVES):
        with pytest.raises(ModelError, match=f"does not fit {network.name}") as caught:
            take(kit, path, network)
        assert not isinstance(caught.value, DamagedFileError)
        assert path.name in str(caught.value)


def test_a_file_that_is_no_good_is_told_from_one_of_another_network(kit: Kit, tmp_path: Path) -> None:
    kit.engine.start()
    path = kit.file(tmp_path, MEANS)
    for content in (b"<html>no such key</html>", path.read_bytes()[:-10], b""):
        path.write_bytes(content)
        with pytest.raises(DamagedFileError, match=r"(?s)Fetch it again: ") as caught:
            take(kit, path, MEANS)
        assert caught.value.remedy
        assert str(path) in caught.value.reason


def test_where_nothing_is_wrong_nothing_is_doubted_and_nothing_done(kit: Kit, means: LoadedNetwork) -> None:
    assert kit.engine.doubt(means) is None
    assert kit.engine.recover(means) == "already_back"
    assert means.run(pictures(1))
    assert all(isinstance(value, float) for value in kit.engine.health().values())


def test_an_engine_may_be_closed_twice_and_answers_outlive_it(kit: Kit, means: LoadedNetwork) -> None:
    (output,) = means.run(pictures(1))
    before = output["embedding"].values.copy()
    kit.engine.close()
    kit.engine.close()
    np.testing.assert_array_equal(output["embedding"].values, before)


def test_a_network_answers_as_before_after_a_rest_and_after_it_was_unloaded(kit: Kit, means: LoadedNetwork) -> None:
    frames = pictures(1)
    before = means.run(frames)[0]["embedding"].real()
    kit.engine.rest()
    np.testing.assert_array_equal(means.run(frames)[0]["embedding"].real(), before)
    for _ in range(2):
        kit.engine.unload()
        kit.engine.reload()
        kit.engine.reload()
        np.testing.assert_array_equal(means.run(frames)[0]["embedding"].real(), before)
