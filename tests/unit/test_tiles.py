"""What the text detector sees: sizes by the official rules, Pillow's pixels, tiles that cover every picture."""

import tracemalloc
from itertools import pairwise

import cv2
import numpy as np
import pytest
from PIL import Image

from ml_target.tasks.ocr.mosaic import MEET, merge
from ml_target.tasks.ocr.tiles import (
    MAX_DETECTION_PIXELS,
    NEAR,
    OVERLAP,
    Tiling,
    bounded_size,
    official_size,
    plan,
    tiles,
    whole,
)
from ml_target.tensors import Tensor, UInt8

RANDOM = np.random.default_rng(47)
FRAME = (544, 960)


def scene(height: int, width: int) -> UInt8:
    """Smooth shapes and noise: neither flat nor pure aliasing."""
    small = RANDOM.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


# -------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("picture", "resolution", "expected"),
    [
        ((1440, 1920), 736, (736, 992)),
        ((1920, 1440), 736, (992, 736)),
        ((3200, 1440), 736, (1632, 736)),
        ((1440, 2560), 736, (736, 1312)),
        ((500, 640), 736, (512, 640)),  # never enlarged; 15.625 multiples round up
        ((720, 720), 736, (704, 704)),  # 22.5 rounds to even
        ((32, 32), 736, (32, 32)),
        ((40, 4000), 736, (32, 4000)),
        ((1440, 1920), 1, (32, 32)),
        ((1440, 1920), 100_000, (1440, 1920)),
    ],
)
def test_official_sizes(picture: tuple[int, int], resolution: int, expected: tuple[int, int]) -> None:
    assert official_size(*picture, resolution) == bounded_size(*picture, resolution) == expected
    assert not whole(*picture, resolution).reduced


def test_sizes_of_every_shape_are_bounded() -> None:
    shapes = [(int(h), int(w)) for h, w in np.exp(RANDOM.uniform(np.log(32), np.log(200_000), (300, 2)))]
    shapes += [(100, 20_000), (20_000, 100), (736, 243_000), (32, 5_592_405), (13_000, 13_000)]
    for height, width in shapes:
        for resolution in (1, 736, 2160, 50_000):
            ratio = min(1.0, resolution / min(height, width))
            official = tuple(max(32, round(int(n * ratio) / 32) * 32) for n in (height, width))
            assert official_size(height, width, resolution) == official
            high, wide = bounded_size(height, width, resolution)
            assert high % 32 == wide % 32 == 0
            assert 32 * 32 <= high * wide <= MAX_DETECTION_PIXELS
            tiling = whole(height, width, resolution)
            assert tiling == Tiling((high, wide), (high, wide), ((0, 0),), reduced=(high, wide) != official)
            if (
                tiling.reduced
            ):  # not much smaller than needed; a side that rounds to one multiple instead of two halves it
                assert high * wide > 0.45 * MAX_DETECTION_PIXELS


def test_a_whole_frame_is_pillows_lanczos_in_bgr() -> None:
    picture = scene(900, 1300)
    [frame] = tiles(picture, whole(900, 1300, 736), "BGR")
    expected = np.asarray(Image.fromarray(picture).resize((1056, 736), Image.Resampling.LANCZOS))
    difference = np.abs(frame.astype(np.int16) - expected[..., ::-1])
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-4
    assert frame.flags.c_contiguous
    assert np.array_equal(tiles(picture, whole(900, 1300, 736), "RGB")[0], frame[..., ::-1])


def test_far_reductions_take_little_memory_and_look_the_same() -> None:
    picture = scene(2400, 3100)
    expected = np.asarray(Image.fromarray(picture).resize((416, 320), Image.Resampling.LANCZOS), np.float32)
    tracemalloc.start()
    try:
        [frame] = tiles(picture, whole(2400, 3100, 320), "RGB")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.abs(frame - expected).mean() < 1.5  # of noise as fine as the target's pixels
    assert peak < picture.nbytes


# -------------------------------------------------------------------- tiles


@pytest.mark.parametrize(
    ("picture", "count", "scale"),
    [
        ((1920, 1440), 2, 1.0),  # a photo, upright
        ((1440, 1920), 2, 0.967),  # and lying: 960 of 992 columns
        ((2037, 1440), 2, 0.969),  # a page of A4: 1024 of 1056 rows
        ((1440, 1440), 2, 1.0),
        ((1440, 2160), 4, 1.0),
        ((1440, 2560), 4, 1.0),
        ((3200, 1440), 4, 1.0),  # a telephone's screen
        ((500, 900), 1, 1.0),
        ((100, 100), 1, 1.0),
    ],
)
def test_most_pictures_take_two_tiles(picture: tuple[int, int], count: int, scale: float) -> None:
    tiling = plan(*picture, FRAME, 736, 16)
    assert len(tiling.starts) == count
    sides = zip(tiling.size, official_size(*picture, 736), strict=True)
    assert min(ours / theirs for ours, theirs in sides) == pytest.approx(scale, abs=1e-3)
    assert not tiling.reduced


def test_every_picture_is_covered_and_neighbours_overlap() -> None:
    shapes = [(int(h), int(w)) for h, w in np.exp(RANDOM.uniform(np.log(32), np.log(30_000), (400, 2)))]
    for height, width in shapes:
        for budget in (1, 2, 5, 16):
            tiling = plan(height, width, FRAME, 736, budget)
            official = official_size(height, width, 736)
            assert 1 <= len(tiling.starts) <= budget
            for axis in (0, 1):
                starts = sorted({start[axis] for start in tiling.starts})
                assert starts[0] == 0
                assert starts[-1] + FRAME[axis] >= tiling.size[axis]
                assert all(b - a <= FRAME[axis] - OVERLAP for a, b in pairwise(starts))
                assert tiling.size[axis] <= official[axis]
            worst = min(a / b for a, b in zip(tiling.size, official, strict=True))
            assert tiling.reduced == (worst < NEAR)
            if not tiling.reduced and len(tiling.starts) > 1:  # one fewer would not have done
                assert plan(height, width, FRAME, 736, len(tiling.starts) - 1).reduced


def test_tiles_show_the_picture_of_the_official_size() -> None:
    picture = scene(1920, 1440)
    tiling = plan(1920, 1440, FRAME, 736, 16)
    [official] = tiles(picture, whole(1920, 1440, 736), "BGR")
    assert tiling.size == official.shape[:2]
    for tile, (top, left) in zip(tiles(picture, tiling, "BGR"), tiling.starts, strict=True):
        part = official[top : top + 544, left : left + 960]
        assert tile.shape == (544, 960, 3)
        assert tile.flags.c_contiguous
        assert np.array_equal(tile[: part.shape[0], : part.shape[1]], part)
        assert not tile[part.shape[0] :].any()
        assert not tile[:, part.shape[1] :].any()


# ------------------------------------------------------------------- mosaic


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("picture", [(1920, 1440), (1440, 2560), (3200, 1440), (300, 200)])
def test_maps_of_tiles_are_the_map_of_the_whole(dtype: type[np.generic], picture: tuple[int, int]) -> None:
    tiling = plan(*picture, FRAME, 736, 16)
    expected = (RANDOM.random((*tiling.size, 1)) * 250 + 3).astype(dtype)
    padded = np.zeros((max(544, tiling.size[0]), max(960, tiling.size[1]), 1), dtype)
    padded[: tiling.size[0], : tiling.size[1]] = expected
    maps = [Tensor(padded[top : top + 544, left : left + 960], 0.5, 3.0) for top, left in tiling.starts]
    found = merge(maps, tiling.starts, tiling.size)
    assert found.values.dtype == dtype
    assert np.array_equal(found.values, expected)
    assert (found.scale, found.zero_point) == (0.5, 3.0)


def test_both_tiles_speak_where_they_meet() -> None:
    """Rows 60 to 159 are in both tiles; both speak for rows 94 to 125, around their middle."""
    upper, lower = (np.zeros((160, 8, 1), np.uint8) for _ in range(2))
    upper[70:], lower[:] = 9, 5
    lower[20] = upper[150] = 250  # rows 80 and 150: at the rims, nobody asks
    lower[40] = 200  # row 100: both are asked
    found = merge([Tensor(upper), Tensor(lower)], [(0, 0), (60, 0)], (220, 8)).values[:, 0, 0].tolist()
    assert 110 - MEET == 94
    assert found == [0] * 70 + [9] * 30 + [200] + [9] * 25 + [5] * 94
