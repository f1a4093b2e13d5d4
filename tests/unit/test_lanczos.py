"""Pillow's Lanczos filter: the same pixels, but for the last digit of a sum."""

import tracemalloc
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image

from ml_target.imaging import lanczos
from ml_target.imaging.lanczos import resized
from ml_target.tensors import UInt8


def noise(height: int, width: int) -> UInt8:
    return np.random.default_rng(height * 7919 + width).integers(0, 256, (height, width, 3), np.uint8)


def black_and_white(height: int, width: int) -> UInt8:
    """The filter overshoots at each of its edges: sums far below 0 and above 255."""
    return np.where(noise(height, width) > 127, np.uint8(255), np.uint8(0))


@pytest.mark.parametrize("make", [noise, black_and_white])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((704, 1000), (352, 500)),
        ((691, 953), (305, 431)),
        ((500, 640), (512, 640)),  # one side a little larger, to a multiple of 32; the other as it was
        ((300, 400), (300, 200)),
        ((100, 37), (224, 300)),
        ((600, 800), (32, 32)),
        ((3500, 33), (1700, 32)),  # a strip: downwards first
        ((33, 9000), (32, 8700)),  # longer than what is computed at a time
        ((1, 1), (1, 1)),
    ],
)
def test_pixels_are_pillows(before: tuple[int, int], after: tuple[int, int], make: Callable[[int, int], UInt8]) -> None:
    picture = make(*before)
    expected = Image.fromarray(picture).resize(after[::-1], Image.Resampling.LANCZOS)
    ours = resized(picture, *after)
    assert ours.shape == (*after, 3)
    assert ours.dtype == np.uint8
    difference = np.abs(ours.astype(np.int16) - np.asarray(expected))
    assert difference.max() <= 2  # one in the first pass may become one more in the second
    assert (difference > 0).mean() < (1e-4 if make is noise else 2e-3)  # black beside white often ends halfway


@pytest.mark.parametrize(("before", "after"), [((1440, 1920), (742, 966)), ((1001, 703), (555, 409))])
def test_pixels_are_the_same_whoever_does_which_part(
    before: tuple[int, int], after: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, parts = noise(*before), list[int]()

    def backwards(calls: Sequence[Callable[[], object]]) -> None:
        parts.append(len(calls))
        for call in reversed(calls):
            call()

    found = resized(picture, *after, backwards)
    assert parts == [2, 2]
    monkeypatch.setattr(lanczos, "_halves", lambda blocks: [blocks])
    assert np.array_equal(resized(picture, *after), found)


def test_pictures_are_taken_as_they_look_and_left_alone() -> None:
    picture = noise(300, 400)[::2, ::-1]
    before = picture.copy()
    picture.flags.writeable = False
    assert np.array_equal(resized(picture, 70, 110), resized(before, 70, 110))
    assert np.array_equal(picture, before)


def test_a_long_strip_takes_little_memory() -> None:
    picture = np.full((40, 20_000, 3), 99, np.uint8)
    tracemalloc.start()
    try:
        assert (resized(picture, 32, 17_000) == 99).all()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * picture.nbytes


def test_weights_are_kept_for_photos_and_not_for_long_strips() -> None:
    photo, strip = np.zeros((20, 900, 3), np.uint8), np.zeros((4, 40_000, 3), np.uint8)
    resized(photo, 20, 450)
    before = lanczos._kept_blocks.cache_info()
    resized(photo, 20, 450)
    resized(strip, 4, 20_000)
    after = lanczos._kept_blocks.cache_info()
    assert (after.hits, after.misses, after.currsize) == (before.hits + 1, before.misses, before.currsize)
