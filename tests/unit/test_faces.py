"""The faces task around its networks: limits, chunks, faults. The networks are made up."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from scripted import Scripted

from ml_target.catalogue.networks import OCR_DETECTION, SCRFD_2_5G, STAND_IN_EMBEDDER
from ml_target.catalogue.types import Network
from ml_target.engines import Intake
from ml_target.errors import EngineFault, ModelError
from ml_target.log.trace import Trace
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.faces.align import ARCFACE_POINTS
from ml_target.tasks.faces.finder import CROPS_AT_ONCE, Face, FaceFinder
from ml_target.tensors import Float32, Tensor

PICTURE = np.full((640, 640, 3), 90, np.uint8)


@pytest.fixture
def host() -> Iterator[ThreadPool]:
    pool = ThreadPool(1)
    yield pool
    pool.close()


@pytest.fixture
def pool() -> Iterator[Arbiter]:
    pool = Arbiter(1)
    yield pool
    pool.close()


def model(network: Network, loaded: Scripted, pool: Arbiter) -> Model:
    return Model(network, pool.queue(loaded, network.name), Provenance("made up", "", "scripted"))


def crowd(count: int, points: Float32 | None = None) -> Scripted:
    """A detector that sees `count` small faces apart from each other, in every frame."""
    if points is None:
        points = ((ARCFACE_POINTS - 56) / 112).astype(np.float32)
    outputs: dict[str, Tensor] = {}
    for stride in (8, 16, 32):
        cells = 640 // stride
        outputs[f"score_{stride}"] = Tensor(np.zeros((cells, cells, 2), np.float32))
        outputs[f"box_{stride}"] = Tensor(np.full((cells, cells, 8), 0.2, np.float32))
        outputs[f"kps_{stride}"] = Tensor(np.tile(points.reshape(-1), (cells, cells, 2)))
    rows, columns = np.divmod(np.arange(count), 80)
    outputs["score_8"].values[rows, columns, 0] = np.linspace(0.9, 0.6, count)
    return Scripted(Intake((640, 640, 3), "uint8"), lambda frame: outputs)


def describer(vector: Float32 | None = None) -> Scripted:
    fixed = np.arange(1, 513, dtype=np.float32) if vector is None else vector
    return Scripted(Intake((112, 112, 3), "uint8"), lambda crop: {"embedding": Tensor(fixed)})


def find(
    detector: Scripted, recognizer: Scripted, host: ThreadPool, pool: Arbiter, trace: Trace, limit: int = 500
) -> list[Face]:
    finder = FaceFinder(
        model(SCRFD_2_5G, detector, pool), model(STAND_IN_EMBEDDER, recognizer, pool), host, max_faces=limit
    )
    return asyncio.run(finder.find(PICTURE, 0.5, trace))


def test_faces_of_a_crowd_come_best_first_with_their_vectors(host: ThreadPool, pool: Arbiter) -> None:
    count = 2 * CROPS_AT_ONCE + 3
    detector, recognizer, trace = crowd(count), describer(), Trace()
    numbers = iter(range(1, 10_000))
    recognizer.answer = lambda crop: {"embedding": Tensor(np.full(512, next(numbers), np.float32))}
    faces = find(detector, recognizer, host, pool, trace)
    assert [face.embedding[0] for face in faces] == list(range(1, count + 1)), "order survives the chunks"
    assert (np.diff([face.score for face in faces]) < 0).all()
    assert faces[1].box == pytest.approx((8 - 1.6, -1.6, 8 + 1.6, 1.6))
    assert {crop.shape for crop in recognizer.seen} == {(112, 112, 3)}
    assert trace.counts == {"faces": count}
    assert list(trace.stages) == ["faces.prepare", "faces.detect", "faces.boxes", "faces.align", "faces.recognise"]
    assert not trace.warnings


def test_no_face_asks_no_recogniser(host: ThreadPool, pool: Arbiter) -> None:
    recognizer, trace = describer(), Trace()
    assert find(crowd(0), recognizer, host, pool, trace) == []
    assert not recognizer.seen
    assert trace.counts == {"faces": 0}


def test_the_limit_is_said(host: ThreadPool, pool: Arbiter) -> None:
    trace = Trace()
    assert len(find(crowd(20), describer(), host, pool, trace, limit=5)) == 5
    assert trace.warnings == [
        "5 faces answered, 15 weaker candidates left out; raise the least score in Immich, or MAX_FACES here"
    ]


def test_frames_have_the_size_of_the_file(host: ThreadPool, pool: Arbiter) -> None:
    detector = crowd(1)
    for shape, expected in (((None, None, 3), (640, 640, 3)), ((320, 480, 3), (320, 480, 3))):
        detector.intake = Intake(shape, "uint8")
        find(detector, describer(), host, pool, Trace())
        assert detector.seen[-1].shape == expected


def test_integers_become_real_vectors(host: ThreadPool, pool: Arbiter) -> None:
    recognizer = describer()
    recognizer.answer = lambda crop: {"embedding": Tensor(np.full((1, 512), 146, np.uint8), 0.5, 144)}
    [face] = find(crowd(1), recognizer, host, pool, Trace())
    assert face.embedding.dtype == np.float32
    np.testing.assert_array_equal(face.embedding, np.ones(512))


@pytest.mark.parametrize("entry", [np.nan, np.inf])
def test_vectors_that_are_no_numbers_are_refused(entry: float, host: ThreadPool, pool: Arbiter) -> None:
    vector = np.ones(512, np.float32)
    vector[7] = entry
    with pytest.raises(EngineFault, match="not numbers"):
        find(crowd(3), describer(vector), host, pool, Trace())


def test_vectors_of_zeros_are_refused(host: ThreadPool, pool: Arbiter) -> None:
    with pytest.raises(EngineFault, match="zeros"):
        find(crowd(3), describer(np.zeros(512, np.float32)), host, pool, Trace())


def test_a_face_without_extent_is_refused(host: ThreadPool, pool: Arbiter) -> None:
    with pytest.raises(EngineFault, match="upright"):
        find(crowd(3, np.full((5, 2), 0.25, np.float32)), describer(), host, pool, Trace())


def test_networks_that_cannot_serve_faces(host: ThreadPool, pool: Arbiter) -> None:
    detector, recognizer = model(SCRFD_2_5G, crowd(1), pool), model(STAND_IN_EMBEDDER, describer(), pool)
    with pytest.raises(ModelError, match=r"RGB pictures, .*\. Its entry in the catalogue is wrong: correct it"):
        FaceFinder(replace(detector, network=OCR_DETECTION), recognizer, host, 500)
    oblong = replace(describer(), intake=Intake((112, 96, 3), "uint8"))
    with pytest.raises(ModelError, match=r"takes 112 x 96, a square .*\. It is not the catalogue's file: delete it, "):
        FaceFinder(detector, replace(recognizer, queue=pool.queue(oblong, "oblong")), host, 500)
