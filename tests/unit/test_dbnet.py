"""Boxes around lines: RapidOCR's post-processing on maps of every kind, and its own rules."""

import tracemalloc

import cv2
import numpy as np
import pytest
from rapidocr_reference import RapidOcr

from ml_target.tasks.ocr.dbnet import find_boxes, order_corners, reading_order
from ml_target.tensors import Float32, Tensor

RANDOM = np.random.default_rng(23)


@pytest.fixture(scope="module")
def rapidocr() -> RapidOcr:
    return RapidOcr()


def noise_map(height: int, width: int, lines: int) -> Float32:
    """Bars at every angle, some weak, some with holes, on noise that is below the threshold mostly."""
    plane = RANDOM.uniform(0, 0.31, (height, width)).astype(np.float32)
    for _ in range(lines):
        centre = (float(RANDOM.uniform(0, width)), float(RANDOM.uniform(0, height)))
        long, short = float(RANDOM.uniform(5, width / 2)), float(RANDOM.uniform(1, 25))
        angle = float(RANDOM.choice([0, 90, 45, RANDOM.uniform(-180, 180)]))
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [cv2.boxPoints((centre, (long, short), angle)).astype(np.int32)], [1.0])
        plane[mask > 0] = RANDOM.uniform(0.25, 1.0)
        if RANDOM.random() < 0.2:
            plane[int(centre[1]) % height, :] = 0.1
    return np.clip(plane + RANDOM.normal(0, 0.02, plane.shape), 0, 1).astype(np.float32)


def tensor(plane: Float32) -> Tensor:
    return Tensor(plane[:, :, None])


def bar(height: int, width: int, *bars: tuple[int, int, int, int]) -> Float32:
    """A map with bars (x1, y1, x2, y2) of certain text."""
    plane = np.zeros((height, width), np.float32)
    for x1, y1, x2, y2 in bars:
        plane[y1:y2, x1:x2] = 1
    return plane


@pytest.mark.parametrize("round_", range(24))
def test_finds_what_rapidocr_finds(rapidocr: RapidOcr, round_: int) -> None:
    height, width = (int(n) * 32 for n in RANDOM.integers(2, 14, 2))
    picture = tuple((np.array([height, width]) * RANDOM.uniform(1, 3, 2)).astype(int).tolist())
    plane = noise_map(height, width, int(RANDOM.integers(1, 12)))
    found = find_boxes(tensor(plane), (picture[0], picture[1]), 0.5)
    boxes, scores = rapidocr.boxes(plane, (picture[0], picture[1]), 0.5)
    # It rounds to whole cells twice, so a corner may be off by one cell and one pixel...
    cell = max(picture[0] / height, picture[1] / width)
    unmatched = list(range(len(boxes)))
    for corners, score in zip(found.corners, found.scores, strict=True):
        same = [i for i in unmatched if abs(scores[i] - score) < 1e-5]
        best = min(same, key=lambda i: np.abs(boxes[i] - corners).max(), default=None)
        if best is None:
            # ...and a box of just five cells, or just four pixels, may be lost.
            assert min(np.linalg.norm(corners - np.roll(corners, 1, 0), axis=1)) < 7 * cell
            continue
        unmatched.remove(best)
        # A square on its corner has no leftmost side: either order is right.
        nearest = np.abs(boxes[best][:, None] - corners[None]).max(axis=2).min(axis=1)
        assert nearest.max() <= 2 * cell + 1
    for i in unmatched:
        assert min(np.linalg.norm(boxes[i] - np.roll(boxes[i], 1, 0), axis=1)) < 7 * cell


def test_order_is_rapidocrs(rapidocr: RapidOcr) -> None:
    for _ in range(50):
        corners = RANDOM.integers(0, 300, (30, 1, 2)) + np.array([[0, 0], [40, 0], [40, 9], [0, 9]])
        boxes = np.unique(corners, axis=0).astype(np.float32)
        RANDOM.shuffle(boxes)
        assert reading_order(boxes).tolist() == rapidocr.in_reading_order(boxes)


def test_scores_stay_with_their_boxes() -> None:
    plane = bar(200, 400, (20, 20, 120, 40), (200, 22, 380, 42), (30, 120, 300, 140))
    plane[plane > 0] = 0.6
    plane[22:42, 200:380] = 0.8
    plane[120:140] *= 1.5
    found = find_boxes(tensor(plane), (200, 400), 0.5)
    assert found.corners[:, 0, 0].argsort().tolist() == [0, 2, 1]
    # The dilation takes in a rim of cells without text, so the mean is a little lower than the core.
    assert found.scores == pytest.approx([0.6, 0.8, 0.9], abs=0.06)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_give_the_boxes_of_what_they_stand_for(dtype: type[np.unsignedinteger]) -> None:
    top = np.iinfo(dtype).max
    scale, zero = 1.05 / top, float(top // 50)
    for _ in range(10):
        plane = noise_map(192, 256, 6)
        raw = np.clip(np.round(plane / scale + zero), 0, top).astype(dtype)
        quantised = Tensor(raw[:, :, None], scale, zero)
        found, expected = (find_boxes(t, (400, 500), 0.5) for t in (quantised, Tensor(quantised.real())))
        assert np.array_equal(found.corners, expected.corners)
        assert found.scores == pytest.approx(expected.scores, abs=1e-4)


def test_the_growth_is_the_polygon_offset() -> None:
    found = find_boxes(tensor(bar(300, 600, (100, 100, 299, 119))), (300, 600), 0.5)
    # Pixels 100..299 x 100..119 after dilation, as contours count them: 199 x 19 between their centres.
    growth = 199 * 19 * 1.6 / (199 + 19) / 2
    expected = np.array([100 - growth, 100 - growth, 299 + growth, 119 + growth])
    assert found.corners[0, [0, 2]].reshape(-1) == pytest.approx(expected, abs=0.51)


def test_the_threshold_and_the_least_score() -> None:
    plane = bar(64, 128, (20, 20, 100, 40))
    assert not len(find_boxes(tensor(plane * np.float32(0.3)), (64, 128), 0.0).scores)
    weak = find_boxes(tensor(plane * np.float32(0.4)), (64, 128), 0.1)
    assert len(weak.scores) == 1
    score = float(weak.scores[0])
    assert len(find_boxes(tensor(plane * np.float32(0.4)), (64, 128), score - 1e-6).scores) == 1
    assert not len(find_boxes(tensor(plane * np.float32(0.4)), (64, 128), score + 1e-6).scores)


def test_specks_are_dropped() -> None:
    assert not len(find_boxes(tensor(bar(64, 64, (10, 10, 12, 50))), (64, 64), 0.1).scores)
    # Large enough in the map, but three pixels high in the picture.
    assert not len(find_boxes(tensor(bar(320, 64, (10, 100, 50, 110))), (32, 64), 0.1).scores)


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan])
def test_empty_full_and_broken_maps(value: float) -> None:
    found = find_boxes(tensor(np.full((64, 96), value, np.float32)), (640, 960), 0.5)
    assert found.corners.shape == (len(found.scores), 4, 2)
    assert found.corners.dtype == found.scores.dtype == np.float32
    if value == 1.0:
        assert found.corners.tolist() == [[[0, 0], [959, 0], [959, 639], [0, 639]]]
    else:
        assert not len(found.scores)


def test_too_many_candidates_are_counted() -> None:
    bars = [(x, y, x + 8, y + 6) for y in range(10, 300, 20) for x in range(10, 300, 20)]
    plane = tensor(bar(320, 320, *bars))
    assert len(find_boxes(plane, (320, 320), 0.1).scores) == len(bars)
    capped = find_boxes(plane, (320, 320), 0.1, max_candidates=100)
    assert (len(capped.scores), capped.unseen) == (100, len(bars) - 100)


def test_corners_run_clockwise_from_the_top_left() -> None:
    for angle in (*range(-44, 45, 4), 0):
        box = cv2.boxPoints(((100.0, 100.0), (80.0, 20.0), float(angle)))
        ordered = order_corners(RANDOM.permutation(box)[None].astype(np.float32))[0]
        centred = ordered - 100
        turn = np.deg2rad(angle)
        upright = centred @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        assert np.sign(upright).tolist() == [[-1, -1], [1, -1], [1, 1], [-1, 1]]


def test_memory_does_not_grow_with_the_boxes() -> None:
    bars = [(x, y, x + 60, y + 8) for y in range(10, 1590, 20) for x in range(10, 1500, 100)]
    plane = tensor(bar(1600, 1600, *bars))
    tracemalloc.start()
    try:
        found = find_boxes(plane, (1600, 1600), 0.1, max_candidates=5000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found.scores) == len(bars) > 1000
    assert peak < 3 * plane.values.nbytes
