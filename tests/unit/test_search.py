"""Encoders around a made-up model: what they feed, what they time, what they refuse."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from ml_target.catalogue.networks import CLIP_BACKENDS, EMBEDDING, TOKEN_STATES
from ml_target.catalogue.types import Network
from ml_target.engines import Intake
from ml_target.errors import EngineFault, ModelError
from ml_target.log.trace import Trace
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.clip.encoders import QUERY, PictureEncoder, TextEncoder, unit
from ml_target.tasks.clip.resize import shortest_side_crop, squash
from ml_target.tasks.clip.task import CLIP as CLIP_TASK
from ml_target.tasks.clip.text_head import TextHead
from ml_target.tasks.clip.tokenizer import Ids
from ml_target.tasks.contract import Job
from ml_target.tensors import Array, Float32, Outputs, Tensor

CLIP = CLIP_BACKENDS["tinyclip"]


@dataclass
class FakeLoaded:
    intake: Intake
    roles: Mapping[str, tuple[int, ...]]


@dataclass
class FakeModel:
    """Answers every frame with `outputs` and remembers the frames."""

    network: Network
    intake: Intake
    outputs: Outputs
    seen: list[Array] = field(default_factory=list)

    @property
    def loaded(self) -> FakeLoaded:
        return FakeLoaded(self.intake, {role: tensor.values.shape for role, tensor in self.outputs.items()})

    def coming(self, frames: int = 1) -> AbstractContextManager[None]:
        return nullcontext()

    async def infer(self, frames: Sequence[Array]) -> list[Outputs]:
        self.seen += frames
        return [self.outputs for _ in frames]


class FakeTokenizer:
    length = 77
    size = 10

    def encode(self, text: str) -> Ids:
        return np.full(77, len(text) % 10, np.int64)


class CountingHost(ThreadPool):
    """Counts what it is given to run."""

    runs = 0

    async def run(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        self.runs += 1
        return function(*args, **kwargs)


def _vector(values: Any) -> Outputs:
    return {EMBEDDING: Tensor(np.asarray(values))}


def _picture_model(outputs: Outputs, shape: tuple[int | None, ...] = (224, 224, 3)) -> Any:
    return FakeModel(CLIP.visual, Intake(shape, "uint8"), outputs)


def _text_model(outputs: Outputs) -> Any:
    return FakeModel(CLIP.textual, Intake((77,), "int32"), outputs)


@pytest.mark.parametrize("shape", [(224, 224, 3), (None, None, 3)])
def test_pictures(shape: tuple[int | None, ...]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 500, 3), np.uint8)
    for rule, prepare in (("squash", squash), ("shortest", shortest_side_crop)):
        model, trace = _picture_model(_vector(np.array([3, 4], np.float32)), shape), Trace()
        encoder = PictureEncoder(model, CountingHost(1), rule)  # type: ignore[arg-type]
        assert asyncio.run(encoder.embed(picture, trace)).tolist() == pytest.approx([0.6, 0.8])
        assert (model.seen[0] == prepare(picture, 224)).all()
        assert list(trace.stages) == ["clip.prepare", "clip.infer"]
        steps = CLIP_TASK.steps(Job(CLIP_TASK, "clip.visual", ""), encoder)
        assert steps is not None
        vector = asyncio.run(steps.finish(steps.prepare(picture), Trace()))
        assert vector.tolist() == pytest.approx([0.6, 0.8])
        assert (model.seen[1] == model.seen[0]).all()


def test_quantised_pictures_become_real_before_they_are_scaled() -> None:
    model = _picture_model({EMBEDDING: Tensor(np.array([[103, 104]], np.uint16), 0.25, 100)})
    vector = asyncio.run(PictureEncoder(model, CountingHost(1), "squash").embed(np.zeros((9, 9, 3), np.uint8), Trace()))
    assert vector.tolist() == pytest.approx([0.6, 0.8])
    assert vector.dtype == np.float32


def test_texts() -> None:
    model, trace = _text_model(_vector(np.array([0, 2], np.float32))), Trace()
    encoder = TextEncoder(model, FakeTokenizer(), TextHead(CLIP, None), CountingHost(1))
    assert asyncio.run(encoder.embed("abc", trace)).tolist() == [0, 1]
    assert model.seen[0].dtype == np.int32
    assert (model.seen[0] == 3).all()
    assert list(trace.stages) == ["clip.prepare", "clip.infer"]


def test_only_long_texts_queue_for_the_pool() -> None:
    """A query must not wait behind pictures; a text that takes long must not hold the event loop."""
    host = CountingHost(1)
    encoder = TextEncoder(_text_model(_vector(np.ones(2, np.float32))), FakeTokenizer(), TextHead(CLIP, None), host)
    asyncio.run(encoder.embed("x" * QUERY, Trace()))
    assert host.runs == 0
    asyncio.run(encoder.embed("x" * (QUERY + 1), Trace()))
    assert host.runs == 1


NOWHERE: list[list[float]] = [[0, 0], [np.nan, 1], [np.inf, 1], [-np.inf, np.inf]]


@pytest.mark.parametrize("values", NOWHERE)
def test_a_vector_without_direction_is_never_answered(values: list[float]) -> None:
    outputs = _vector(np.array(values, np.float32))
    pictures = PictureEncoder(_picture_model(outputs), CountingHost(1), "squash")
    texts = TextEncoder(_text_model(outputs), FakeTokenizer(), TextHead(CLIP, None), CountingHost(1))
    with pytest.raises(EngineFault, match=CLIP.visual.name):
        asyncio.run(pictures.embed(np.zeros((9, 9, 3), np.uint8), Trace()))
    with pytest.raises(EngineFault, match=CLIP.textual.name):
        asyncio.run(texts.embed("x", Trace()))


@pytest.mark.parametrize("size", [1e-40, 1e-20, 1.0, 1e20, 3e38])
def test_unit_at_any_size(size: float) -> None:
    vector: Float32 = np.full(4, size, np.float32)
    assert np.allclose(unit(vector, "x"), 0.5, atol=1e-3)


def test_a_picture_tower_that_is_not_square_is_refused() -> None:
    with pytest.raises(ModelError, match="square"):
        PictureEncoder(_picture_model(_vector([1.0]), (224, 256, 3)), CountingHost(1), "squash")
    with pytest.raises(ModelError, match="square"):
        PictureEncoder(_text_model(_vector([1.0])), CountingHost(1), "squash")


def test_a_tokenizer_of_another_length_is_refused() -> None:
    tokenizer = FakeTokenizer()
    tokenizer.length = 64
    with pytest.raises(ModelError, match="64 ids"):
        TextEncoder(_text_model(_vector([1.0])), tokenizer, TextHead(CLIP, None), CountingHost(1))


def test_missing_text_weights_are_said_at_once() -> None:
    states = {TOKEN_STATES: Tensor(np.zeros((77, 512), np.float32))}
    with pytest.raises(ModelError, match="tinyclip_text_weights"):
        TextEncoder(_text_model(states), FakeTokenizer(), TextHead(CLIP, None), CountingHost(1))
