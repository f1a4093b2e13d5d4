"""SCRFD decoding: against loops that say what is meant, with integers. tests/parity compares with InsightFace."""

import time
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from random_faces import random_boxes

from ml_target.errors import EngineFault
from ml_target.tasks.faces.scrfd import MAX_CANDIDATES, Detections, decode, suppress
from ml_target.tensors import Array, Float32, Outputs, Tensor

SIZE = 160
STRIDES = (8, 16, 32)


def maps(seed: int, dense: bool = False) -> dict[str, Array]:
    """Random maps of a 160 x 160 frame: a few good anchors, or scores all over."""
    random = np.random.default_rng(seed)
    result: dict[str, Array] = {}
    for stride in STRIDES:
        cells = SIZE // stride
        scores = random.uniform(0, 1, (cells, cells, 2))
        result[f"score_{stride}"] = (scores if dense else scores**12).astype(np.float32)
        result[f"box_{stride}"] = random.uniform(0.2, 4, (cells, cells, 8)).astype(np.float32)
        result[f"kps_{stride}"] = random.uniform(-2, 2, (cells, cells, 20)).astype(np.float32)
    return result


def tensors(values: dict[str, Array]) -> Outputs:
    return {role: Tensor(value) for role, value in values.items()}


def decode_with_loops(values: dict[str, Array], scale: float, min_score: float) -> list[tuple[float, Float32, Float32]]:
    """Score, box, landmarks of every face, best first."""
    candidates = []
    for stride in STRIDES:
        height, width, anchors = values[f"score_{stride}"].shape
        for row in range(height):
            for column in range(width):
                for anchor in range(anchors):
                    score = values[f"score_{stride}"][row, column, anchor]
                    if score < np.float32(min_score):
                        continue
                    x, y = column * stride, row * stride
                    left, top, right, bottom = values[f"box_{stride}"][row, column, 4 * anchor : 4 * anchor + 4]
                    sides = [x - left * stride, y - top * stride, x + right * stride, y + bottom * stride]
                    offsets = values[f"kps_{stride}"][row, column, 10 * anchor : 10 * anchor + 10].reshape(5, 2)
                    points = (np.array([x, y]) + offsets * stride) / scale
                    candidates.append((float(score), np.array(sides, np.float32) / scale, points))
    candidates.sort(key=lambda candidate: -candidate[0])
    kept: list[tuple[float, Float32, Float32]] = []
    for candidate in candidates:
        if all(overlap(candidate[1], better[1]) <= 0.4 for better in kept):
            kept.append(candidate)
    return kept


def overlap(a: Float32, b: Float32) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    areas = (a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1)
    return float(width * height / (areas - width * height))


@pytest.mark.parametrize(("min_score", "scale"), [(0.0, 0.37), *product((0.2, 0.4, 0.7, 1.0), (1.0, 0.37, 2.5))])
def test_equals_the_loops(min_score: float, scale: float) -> None:
    values = maps(1)
    found = decode(tensors(values), scale, min_score, 10_000)
    expected = decode_with_loops(values, scale, min_score)
    assert len(found.scores) == len(expected)
    assert found.unseen == 0
    if expected:
        np.testing.assert_allclose(found.scores, [face[0] for face in expected])
        np.testing.assert_allclose(found.boxes, [face[1] for face in expected], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(found.landmarks, [face[2] for face in expected], rtol=1e-5, atol=1e-4)


def test_types_and_emptiness() -> None:
    nothing = decode(tensors(maps(1)), 1.0, 1.0, 500)
    assert nothing.boxes.shape == (0, 4)
    assert nothing.scores.shape == (0,)
    assert nothing.landmarks.shape == (0, 5, 2)
    some = decode(tensors(maps(1)), 1.0, 0.3, 500)
    assert {some.boxes.dtype, some.scores.dtype, some.landmarks.dtype} == {np.dtype(np.float32)}
    assert (np.diff(some.scores) <= 0).all()


def one_anchor(score: float, stride: int = 16, row: int = 3, column: int = 4, anchor: int = 1) -> dict[str, Array]:
    values = {role: np.zeros_like(value) for role, value in maps(0).items()}
    values[f"score_{stride}"][row, column, anchor] = score
    values[f"box_{stride}"][row, column, 4 * anchor : 4 * anchor + 4] = (1, 2, 3, 4)
    values[f"kps_{stride}"][row, column, 10 * anchor : 10 * anchor + 10] = np.arange(10) / 4
    return values


def test_an_anchor_stands_on_its_cells_corner() -> None:
    found = decode(tensors(one_anchor(0.9)), 0.5, 0.5, 10)
    np.testing.assert_allclose(found.boxes, [[96, 32, 224, 224]])
    np.testing.assert_allclose(found.landmarks[0], (np.arange(10) * 4 + np.tile([64, 48], 5)).reshape(5, 2) * 2)


@pytest.mark.parametrize("min_score", [0.1, 0.2, 0.3, 0.7, 0.9])
def test_min_score_is_inclusive_in_float32(min_score: float) -> None:
    """0.7 has no float32; the network's nearest one counts as 0.7, the next lower one does not."""
    exact = float(np.float32(min_score))
    below = float(np.nextafter(np.float32(min_score), np.float32(0)))
    assert len(decode(tensors(one_anchor(exact)), 1.0, min_score, 10).scores) == 1
    assert len(decode(tensors(one_anchor(below)), 1.0, min_score, 10).scores) == 0


@pytest.mark.parametrize("bound", [np.nan, np.inf, -np.inf])
def test_a_min_score_that_is_no_number(bound: float) -> None:
    with pytest.raises(ValueError, match="min_score"):
        decode(tensors(maps(1)), 1.0, bound, 10)


def test_min_scores_beyond_the_range() -> None:
    assert decode(tensors(maps(1)), 1.0, 1e300, 10).scores.size == 0
    everything, zero = (decode(tensors(maps(1)), 1.0, bound, 9999) for bound in (-1e300, 0.0))
    np.testing.assert_array_equal(everything.boxes, zero.boxes)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 7.5, -3.0])
def test_scores_that_are_no_probabilities_are_refused(bad: float) -> None:
    values = maps(1)
    values["score_32"][1, 1, 0] = bad
    with pytest.raises(EngineFault, match="score"):
        decode(tensors(values), 1.0, 0.5, 10)


@pytest.mark.parametrize("role", ["box_16", "kps_16"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_boxes_that_are_no_numbers_are_refused(role: str, bad: float) -> None:
    values = one_anchor(0.9)
    values[role][3, 4] = bad
    with pytest.raises(EngineFault, match="not numbers"):
        decode(tensors(values), 1.0, 0.5, 10)
    assert decode(tensors(values), 1.0, 0.95, 10).scores.size == 0, "what no face is made of does not matter"


# -------------------------------------------------------------- quantised


def quantise(values: Array, dtype: type, low: float, high: float) -> Tensor:
    levels = np.iinfo(dtype).max
    scale = float(np.float32((high - low) / levels))
    zero_point = float(round(-low / scale))
    return Tensor(np.clip(np.round(values / scale + zero_point), 0, levels).astype(dtype), scale, zero_point)


def quantised(values: dict[str, Array], dtype: type) -> Outputs:
    ranges = {"score": (0.0, 1.0), "box": (0.0, 4.1), "kps": (-2.1, 2.2)}
    return {role: quantise(value, dtype, *ranges[role.split("_")[0]]) for role, value in values.items()}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("min_score", [0.0, 0.2, 0.5, 0.7])
def test_integers_decode_as_their_real_numbers(dtype: type, min_score: float) -> None:
    integers = quantised(maps(2), dtype)
    reals = {role: Tensor(tensor.real()) for role, tensor in integers.items()}
    assert_same(decode(integers, 0.4, min_score, 500), decode(reals, 0.4, min_score, 500))


def test_integers_are_near_the_floats() -> None:
    """Well separated anchors, so that rounding changes no verdict: half a step of each output is all there is."""
    values = {role: np.zeros_like(value) for role, value in maps(2).items()}
    for row, column in ((2, 2), (2, 12), (12, 4)):
        values["score_8"][row, column, 1] = 0.5 + row / 100 + column / 50
        values["box_8"][row, column, 4:] = (1.31, 2.02, 1.77, 1.03)
        values["kps_8"][row, column, 10:] = np.linspace(-1, 1, 10)
    floats, integers = decode(tensors(values), 0.5, 0.4, 9), decode(quantised(values, np.uint8), 0.5, 0.4, 9)
    assert len(floats.scores) == 3
    np.testing.assert_allclose(integers.boxes, floats.boxes, atol=8 / 0.5 * 4.1 / 255 / 2 + 1e-3)
    np.testing.assert_allclose(integers.landmarks, floats.landmarks, atol=8 / 0.5 * 4.3 / 255 / 2 + 1e-3)
    np.testing.assert_allclose(integers.scores, floats.scores, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize("byte", [51, 102, 153, 204, 255])
def test_a_byte_that_is_the_min_score_counts(byte: int) -> None:
    """0.2, 0.4, … are whole bytes of 1/255; rounding must not lose them."""
    scale = float(np.float32(1 / 255))
    values = one_anchor(0)
    outputs = {**tensors(values), "score_16": Tensor(np.zeros((10, 10, 2), np.uint8), scale)}
    outputs["score_16"].values[3, 4, 1] = byte
    assert decode(outputs, 1.0, byte / 255, 10).scores == pytest.approx([byte / 255])
    outputs["score_16"].values[3, 4, 1] = byte - 1
    assert decode(outputs, 1.0, byte / 255, 10).scores.size == 0


def test_seven_tenths_is_byte_179() -> None:
    outputs = {**tensors(one_anchor(0)), "score_16": Tensor(np.zeros((10, 10, 2), np.uint8), 1 / 255)}
    outputs["score_16"].values[3, 4] = (178, 179)
    assert decode(outputs, 1.0, 0.7, 10).scores == pytest.approx([179 / 255])


# ---------------------------------------------------------- order, limits


def assert_same(a: Detections, b: Detections) -> None:
    for name in ("boxes", "scores", "landmarks"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_equal_scores_keep_their_order() -> None:
    values = maps(3)
    for stride in STRIDES:
        values[f"score_{stride}"][...] = 0.5
        values[f"box_{stride}"][...] = 0.1
    found = decode(tensors(values), 1.0, 0.5, 9999)
    centres = found.boxes.reshape(-1, 2, 2).mean(axis=1)
    first = centres[:400]
    np.testing.assert_allclose(first[:21, 0], [*(8 * i for i in range(20)), 0], atol=1e-4)
    assert (np.diff(first[:, 1]) >= -1e-4).all(), "stride 8 first, row by row"


def test_limits_cut_the_weakest_and_say_how_many() -> None:
    outputs = tensors(maps(4, dense=True))
    everything = decode(outputs, 1.0, 0.1, 9999)
    total = len(everything.scores)
    few = decode(outputs, 1.0, 0.1, 7)
    assert_same(few, Detections(everything.boxes[:7], everything.scores[:7], everything.landmarks[:7]))
    assert few.unseen > 0
    assert decode(outputs, 1.0, 0.1, total).unseen == 0
    early = decode(outputs, 1.0, 0.1, 9999, max_candidates=100)
    kept = len(early.scores)
    assert 0 < kept < total
    assert_same(early, Detections(everything.boxes[:kept], everything.scores[:kept], everything.landmarks[:kept]))
    candidates = sum(int((tensor.values >= 0.1).sum()) for role, tensor in outputs.items() if "score" in role)
    assert early.unseen == candidates - 100


def test_suppression_equals_brute_force() -> None:
    boxes = random_boxes(300, 6)
    kept: list[int] = []
    for index, box in enumerate(boxes):
        if all(overlap(box, boxes[better]) <= 0.4 for better in kept):
            kept.append(index)
    np.testing.assert_array_equal(suppress(boxes, 9999)[0], kept)
    assert suppress(boxes, 0)[0].size == 0


def test_boxes_inside_out_are_no_trouble() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 5, 4, 4], [5, 5, 4, 4], [9, 9, 2, 2], [0, 0, 0, 0]], np.float32)
    suppress(boxes, 10)


@pytest.mark.parametrize("crowd", [lambda n: random_boxes(n, 8), lambda n: np.repeat(random_boxes(1, 8), n, 0)])
def test_many_candidates_are_fast(crowd: Callable[[int], Float32]) -> None:
    boxes = crowd(MAX_CANDIDATES)
    start = time.thread_time()  # processor time, to which nothing else that runs adds
    suppress(boxes, 500)
    assert time.thread_time() - start < 2, "it is a fraction of a tenth of a second"
