"""Resampling: libvips held against Pillow, and Pillow itself where libvips would not do."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from ml_target.imaging import libvips
from ml_target.imaging.resample import resample
from ml_target.tensors import UInt8


def noise(height: int, width: int) -> UInt8:
    return np.random.default_rng(height * 7919 + width).integers(0, 256, (height, width, 3), np.uint8)


def print_like(height: int, width: int) -> UInt8:
    """Black and white with the soft edges of letters, denser than any page."""
    coarse = np.random.default_rng(width).integers(0, 2, (height // 4, width // 4), np.uint8) * 255
    soft = cv2.GaussianBlur(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST), (0, 0), 0.8)
    return np.repeat(np.asarray(soft, np.uint8)[..., None], 3, 2)


def pillow(picture: UInt8, height: int, width: int) -> UInt8:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def off(ours: UInt8, theirs: UInt8) -> npt.NDArray[np.int16]:
    assert ours.shape == theirs.shape
    assert ours.dtype == np.uint8
    return np.asarray(np.abs(ours.astype(np.int16) - theirs), np.int16)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The factors that libvips is asked for."""
    factors: list[float] = []

    class Spy(libvips.Reduction):
        def __init__(self, rows: UInt8, factor: float, kernel: str) -> None:
            factors.append(factor)
            super().__init__(rows, factor, kernel)

    monkeypatch.setattr(libvips, "Reduction", Spy)
    return factors


# ------------------------------------------------------------- the same pixels


@pytest.mark.parametrize("make", [noise, print_like])
@pytest.mark.parametrize(
    ("before", "after"),
    [((704, 1000), (352, 500)), ((691, 953), (305, 431)), ((700, 700), (224, 224)), ((900, 500), (240, 250))],
)
def test_libvips_is_within_the_tolerance(
    before: tuple[int, int],
    after: tuple[int, int],
    make: Callable[[int, int], UInt8],
    asked: list[float],
) -> None:
    picture = make(*before)
    difference = off(resample(picture, *after), pillow(picture, *after))
    assert asked == [before[1] / after[1], before[0] / after[0]]
    assert (difference <= 1).mean() >= 0.995  # 0.999 on photos: tests/parity
    assert difference.max() <= 3


def test_the_border_is_pillows() -> None:
    """libvips repeats the outermost pixels; Pillow's filter ends with the picture."""
    picture = noise(640, 800)
    picture[[0, -1]], picture[:, [0, -1]] = 255, 0
    difference = off(resample(picture, 200, 250), pillow(picture, 200, 250))
    for rim in (difference[:3], difference[-3:], difference[:, :3], difference[:, -3:]):
        assert rim.max() <= 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((100, 100), (224, 224)),  # enlarged
        ((100, 900), (120, 300)),  # one way only
        ((300, 300), (290, 290)),  # hardly reduced
        ((9000, 60), (300, 20)),  # far
        ((3000, 24), (1000, 8)),  # a strip: Pillow takes its other side first
        ((1, 1), (1, 1)),
    ],
)
def test_pillow_does_what_libvips_would_not(
    before: tuple[int, int], after: tuple[int, int], asked: list[float]
) -> None:
    picture = noise(*before)
    assert not off(resample(picture, *after), pillow(picture, *after)).any()
    assert not asked


@pytest.mark.parametrize("after", [(300, 200), (150, 400)])
def test_a_side_that_stays_is_left_alone(after: tuple[int, int], asked: list[float]) -> None:
    picture = noise(300, 400)
    assert off(resample(picture, *after), pillow(picture, *after)).max() <= 1
    assert asked == [2.0]


# --------------------------------------------------------------------- a part


@pytest.mark.parametrize(
    ("before", "after", "keep"),
    [
        ((480, 1000), (224, 466), (224, 224)),
        ((1000, 480), (467, 224), (224, 224)),  # an odd number is left out
        ((900, 901), (300, 300), (101, 77)),
        ((480, 600), (270, 340), (224, 224)),  # too little reduced to cut the source
        ((90, 120), (180, 240), (100, 101)),  # Pillow's
    ],
)
def test_a_part_is_that_of_the_whole(before: tuple[int, int], after: tuple[int, int], keep: tuple[int, int]) -> None:
    picture = noise(*before)
    top, left = ((whole - part) // 2 for whole, part in zip(after, keep, strict=True))
    whole = resample(picture, *after)[top : top + keep[0], left : left + keep[1]]
    difference = off(resample(picture, *after, keep), whole)
    assert difference.max() <= 1, "the grid's start is another sum of floats"
    assert (difference > 0).mean() < 0.01


def test_only_the_part_is_looked_at() -> None:
    picture = np.zeros((448, 2000, 3), np.uint8)
    picture[:, :600] = picture[:, -600:] = 255
    assert not resample(picture, 224, 1000, (224, 224)).any()
    assert np.array_equal(
        resample(np.broadcast_to(np.uint8(7), (448, 20_000, 3)), 224, 10_000, (224, 224)),
        np.full((224, 224, 3), 7, np.uint8),
    )


# ------------------------------------------------------------------- behaviour


def test_pictures_are_taken_as_they_look_and_left_alone() -> None:
    picture = noise(900, 1200)[::2, ::-1]
    before = picture.copy()
    picture.flags.writeable = False
    assert np.array_equal(resample(picture, 150, 200), resample(before, 150, 200))
    assert np.array_equal(picture, before)


def test_a_wrong_call_is_an_error_and_the_next_one_is_not() -> None:
    rows = noise(20, 20).reshape(20, 60)
    with pytest.raises(ValueError, match="reduce"):
        libvips.Reduction(rows, 0.5, "cubic")
    with pytest.raises(ValueError, match="nonsense"):
        libvips.Reduction(rows, 2.0, "nonsense")
    assert libvips.Reduction(rows, 2.0, "cubic").part(slice(0, 10)).shape == (10, 60)


def test_a_reduction_sees_its_rows_as_they_are() -> None:
    """What was computed of them before is not kept, and a part is that of the whole."""
    first, second = noise(64, 32).reshape(64, -1), noise(64, 33)[:, 1:].reshape(64, -1)
    rows = first.copy()
    reduction = libvips.Reduction(rows, 4.0, "cubic")
    for given in (first, second, first):
        rows[:] = given
        fresh = libvips.Reduction(given.copy(), 4.0, "cubic").part(slice(0, 16))
        assert np.array_equal(reduction.part(slice(0, 16)), fresh)
        assert np.array_equal(reduction.part(slice(5, 9)), fresh[5:9])


@pytest.mark.parametrize("high", [450, 31 * 32, 31 * 32 + 1])
def test_strips_do_not_show(high: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a few rows, and a last one that overlaps, give what one strip gives."""
    picture = noise(high, 700)

    def both() -> tuple[UInt8, UInt8]:
        return resample(picture, high // 2, 150), resample(picture, high // 2, 300, (100, 90))

    whole = both()
    for strip in (1, 100_000, 500_000):
        monkeypatch.setattr("ml_target.imaging.resample.STRIP", strip)
        assert all(np.array_equal(*each) for each in zip(both(), whole, strict=True))
