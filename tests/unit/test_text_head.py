"""The maths around a text tower, against the same sums written out, and its refusals."""

from typing import Any

import numpy as np
import pytest

from ml_target.catalogue.networks import CLIP_BACKENDS, EMBEDDING, TOKEN_STATES
from ml_target.catalogue.types import ClipBackend
from ml_target.engines import Intake
from ml_target.errors import ModelError
from ml_target.tasks.clip.text_head import TextHead, TextLayout, is_normed, layer_norm
from ml_target.tasks.clip.tokenizer import Ids
from ml_target.tensors import Array, Float32, Tensor

CLIP, SIGLIP = CLIP_BACKENDS["tinyclip"], CLIP_BACKENDS["siglip"]
VOCABULARY = 100
VECTOR = {EMBEDDING: (512,)}


def _weights(backend: ClipBackend, dtype: str = "float32") -> dict[str, Array]:
    random = np.random.default_rng(5)
    tokens, width = (77, 512) if backend.family == "clip" else (64, 768)
    arrays = {
        "tokens": random.normal(0, 1, (VOCABULARY, width)),
        "positions": random.normal(0, 0.1, (tokens, width)),
        "norm_weight": random.normal(1, 0.3, width),
        "norm_bias": random.normal(0, 0.2, width),
    }
    if backend.family == "clip":
        arrays["projection"] = random.normal(0, 0.05, (width, 512))
    else:
        arrays |= {"head_weight": random.normal(0, 0.05, (768, width)), "head_bias": random.normal(0, 1, 768)}
    return {name: array.astype(dtype) for name, array in arrays.items()}


def _ids(backend: ClipBackend) -> Ids:
    if backend.family == "clip":
        return np.array([98, 5, 6, 7] + [99] * 73, np.int64)
    return np.array([5, 6, 7] + [1] * 61, np.int64)


def _states(backend: ClipBackend) -> Float32:
    shape = (77, 512) if backend.family == "clip" else (64, 768)
    return np.random.default_rng(6).normal(3, 4, shape).astype(np.float32)


def _normed(states: Float32, weights: dict[str, Array]) -> Float32:
    mean, deviation = states.mean(-1, keepdims=True), states.std(-1, keepdims=True)
    result: Float32 = (states - mean) / deviation * weights["norm_weight"] + weights["norm_bias"]
    return result


# ----------------------------------------------------------------------- into


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_ids_go_as_they_are(dtype: str) -> None:
    frame = TextHead(CLIP, None).frame(_ids(CLIP), Intake((77,), dtype))
    assert frame.dtype == dtype
    assert (frame == _ids(CLIP)).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("add_positions", [False, True])
def test_embeddings(dtype: str, add_positions: bool) -> None:
    weights = _weights(SIGLIP, dtype)
    head = TextHead(SIGLIP, weights, TextLayout(add_positions=add_positions))
    frame = head.frame(_ids(SIGLIP), Intake((64, 768), "float32"))
    assert frame.dtype == np.float32
    expected = weights["tokens"][_ids(SIGLIP)].astype(np.float32)
    if add_positions:
        expected = expected + weights["positions"].astype(np.float32)
    assert (frame == expected).all()


def test_embeddings_take_the_shape_the_tower_declares() -> None:
    """A compiled tower may declare its 64 tokens as 8 x 8."""
    head = TextHead(SIGLIP, _weights(SIGLIP))
    frame = head.frame(_ids(SIGLIP), Intake((8, 8, 768), "float32"))
    assert (frame.reshape(64, 768) == head.frame(_ids(SIGLIP), Intake((64, 768), "float32"))).all()


# --------------------------------------------------------------------- out of


def test_a_vector_goes_as_it_is() -> None:
    vector = np.arange(512, dtype=np.float32)
    assert (TextHead(CLIP, None).vector({EMBEDDING: Tensor(vector)}, _ids(CLIP)) == vector).all()


def test_a_quantised_vector_becomes_real() -> None:
    vector = TextHead(CLIP, None).vector({EMBEDDING: Tensor(np.arange(512, dtype=np.uint16), 0.5, 100)}, _ids(CLIP))
    assert np.allclose(vector, (np.arange(512) - 100) * 0.5)


@pytest.mark.parametrize("inside", [False, True])
def test_clip_takes_the_first_end_of_text(inside: bool) -> None:
    """Row 4 holds the first of the greatest ids; the norm is applied exactly once, wherever it happens."""
    weights, states = _weights(CLIP), _states(CLIP)
    normed = _normed(states, weights)
    given = Tensor(normed if inside else states)
    vector = TextHead(CLIP, weights).vector({TOKEN_STATES: given}, _ids(CLIP))
    assert vector.dtype == np.float32
    assert np.allclose(vector, normed[4] @ weights["projection"], atol=1e-4)


@pytest.mark.parametrize("inside", [False, True])
def test_siglip_takes_the_last_row(inside: bool) -> None:
    weights, states = _weights(SIGLIP), _states(SIGLIP)
    normed = _normed(states, weights)
    given = Tensor(normed if inside else states)
    vector = TextHead(SIGLIP, weights).vector({TOKEN_STATES: given}, _ids(SIGLIP))
    assert np.allclose(vector, weights["head_weight"] @ normed[63] + weights["head_bias"], atol=1e-4)


@pytest.mark.parametrize("apply_norm", [False, True])
def test_the_layout_overrules_what_the_states_look_like(apply_norm: bool) -> None:
    weights, states = _weights(CLIP), _states(CLIP)
    head = TextHead(CLIP, weights, TextLayout(apply_norm=apply_norm))
    given = _normed(states, weights) if apply_norm else states
    row = _normed(given, weights)[4] if apply_norm else given[4]
    assert np.allclose(head.vector({TOKEN_STATES: Tensor(given)}, _ids(CLIP)), row @ weights["projection"], atol=1e-3)


@pytest.mark.parametrize("backend", [CLIP, SIGLIP])
def test_half_floats_become_floats_once(backend: ClipBackend) -> None:
    """Not with every query, of which that would take 1 or 2 ms."""
    weights = _weights(backend, "float16")
    head, states, ids = TextHead(backend, weights), Tensor(_states(backend)), _ids(backend)
    first = head.vector({TOKEN_STATES: states}, ids)
    for array in weights.values():
        array[:] = 0
    assert (head.vector({TOKEN_STATES: states}, ids) == first).all()


def test_quantised_states() -> None:
    """16-bit states with a scale and zero point, as a card gives them."""
    weights, states = _weights(CLIP), _states(CLIP)
    scale, zero = 40 / 65535, 20_000.0
    stored = np.clip(np.round(states / scale + zero), 0, 65535).astype(np.uint16)
    vector = TextHead(CLIP, weights).vector({TOKEN_STATES: Tensor(stored, scale, zero)}, _ids(CLIP))
    expected = _normed(states, weights)[4] @ weights["projection"]
    assert float(vector @ expected / np.linalg.norm(vector) / np.linalg.norm(expected)) > 0.99999


# ------------------------------------------------------------------- the norm


def test_layer_norm_equals_its_definition() -> None:
    row = np.array([1, 2, 3, 6], np.float32)
    weight, bias = np.array([1, 2, 1, 1], np.float32), np.array([0, 0, 5, 0], np.float32)
    expected = (row - 3) / np.sqrt(3.5 + 1e-5) * weight + bias
    assert np.allclose(layer_norm(row, weight, bias, 1e-5), expected, atol=1e-6)


def test_normed_rows_are_told_apart() -> None:
    weights, states = _weights(CLIP), _states(CLIP)
    weight, bias = weights["norm_weight"], weights["norm_bias"]
    weight[:5] = 1e-9  # numbers that training switched off
    for row, normed in zip(states, _normed(states, weights), strict=True):
        assert is_normed(normed, weight, bias)
        noisy = normed + np.random.default_rng(1).normal(0, 0.01, normed.shape).astype(np.float32)
        assert is_normed(noisy, weight, bias)
        assert not is_normed(row, weight, bias)
    assert not is_normed(np.full(512, np.nan, np.float32), weight, bias)
    assert not is_normed(states[0], np.zeros(512, np.float32), bias)


# ------------------------------------------------------------------- refusals


def _check(backend: ClipBackend, weights: Any, shape: tuple[int, ...], roles: Any, **layout: Any) -> None:
    head = TextHead(backend, weights, TextLayout(**layout))
    head.check(Intake(shape, "int64" if len(shape) == 1 else "float32"), roles, VOCABULARY)


def test_what_is_not_needed_is_not_asked_for() -> None:
    _check(CLIP, None, (77,), VECTOR)
    _check(CLIP, {"tokens": _weights(CLIP)["tokens"]}, (77, 512), VECTOR)
    _check(CLIP, {"projection": _weights(CLIP)["projection"]}, (77,), {TOKEN_STATES: (77, 512)}, apply_norm=False)
    for backend, shape in ((CLIP, (77, 512)), (SIGLIP, (64, 768))):
        _check(backend, _weights(backend), shape, {TOKEN_STATES: shape}, add_positions=True)


def test_a_token_table_may_have_spare_rows() -> None:
    tokens = np.zeros((VOCABULARY + 10, 512), np.float16)
    _check(CLIP, {"tokens": tokens}, (77, 512), VECTOR)


@pytest.mark.parametrize(
    ("backend", "shape", "role", "missing"),
    [
        (CLIP, (77, 512), EMBEDDING, "tokens"),
        (CLIP, (77, 512), EMBEDDING, "positions"),
        (CLIP, (77,), TOKEN_STATES, "projection"),
        (CLIP, (77,), TOKEN_STATES, "norm_weight"),
        (SIGLIP, (64,), TOKEN_STATES, "norm_bias"),
        (SIGLIP, (64,), TOKEN_STATES, "head_weight"),
        (SIGLIP, (64, 768), TOKEN_STATES, "head_bias"),
    ],
)
def test_missing_or_wrong_weights(backend: ClipBackend, shape: tuple[int, ...], role: str, missing: str) -> None:
    """Said when the tower is opened, with the file and how to get it, never at the first query."""
    whole = _weights(backend)
    for wrong in ({k: v for k, v in whole.items() if k != missing}, whole | {missing: whole[missing][:-1]}, None):
        with pytest.raises(ModelError) as refusal:
            _check(backend, wrong, shape, {role: (1,)}, add_positions=True)
        for word in (f"'{missing}'", f"{backend.name}_text_weights.npz", "models fetch"):
            assert word in str(refusal.value)
