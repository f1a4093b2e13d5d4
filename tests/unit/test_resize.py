"""Pixels handed to a CLIP network equal Pillow's, on a photo and on pictures of extreme shape."""

import numpy as np
import pytest
from pictures import read_rgb
from PIL import Image
from pillow_resize import pillow_crop, pillow_squash
from project import TESTS

from ml_target.imaging.picture import decode
from ml_target.tasks.clip import resize
from ml_target.tasks.clip.resize import shortest_side_crop, squash
from ml_target.tensors import UInt8

SIZES = (224, 256)
WITHIN_ONE = 0.999


# -------------------------------------------------------------------- a photo


@pytest.mark.parametrize("size", SIZES)
def test_a_photo_equals_pillow(size: int) -> None:
    """All but a few pixels to a level; tests/parity compares more photos, and with the models' own processors."""
    photo = TESTS / "test.jpg"
    picture, image = decode(photo.read_bytes(), 10**9), Image.fromarray(read_rgb(photo))
    for ours, pillow in (
        (squash(picture, size), pillow_squash(image, size)),
        (shortest_side_crop(picture, size), pillow_crop(image, size)),
    ):
        assert (np.abs(ours.astype(np.int16) - pillow) <= 1).mean() >= WITHIN_ONE


# ---------------------------------------------------------------- any shape


def _noise(height: int, width: int) -> UInt8:
    return np.random.default_rng(height * 7919 + width).integers(0, 256, (height, width, 3), np.uint8)


SHAPES = [(1, 1), (1, 2), (2, 1), (3, 5), (223, 224), (224, 223), (225, 225), (256, 256), (333, 1000), (1001, 334)]
EXTREME = [(1, 110), (110, 1), (20, 2100), (2100, 20), (225, 22_600)]
"""More than LONGEST times as long as wide."""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("height", "width"), SHAPES + EXTREME)
def test_every_shape_equals_pillow(height: int, width: int, size: int) -> None:
    """Exactly, on noise, where the smallest slip in the arithmetic would show: here Pillow is asked, or its like."""
    picture = _noise(height, width)
    image = Image.fromarray(picture)
    assert (squash(picture, size) == pillow_squash(image, size)).all()
    assert (shortest_side_crop(picture, size) == pillow_crop(image, size)).all()


@pytest.mark.parametrize(("height", "width"), [(224, 448), (448, 224), (224, 225), (224, 224), (225, 224)])
def test_a_side_that_needs_no_resizing_is_cut_all_the_same(height: int, width: int) -> None:
    picture = _noise(height, width)
    assert (shortest_side_crop(picture, 224) == pillow_crop(Image.fromarray(picture), 224)).all()


@pytest.mark.parametrize(("height", "width"), [(23_100, 230)])
def test_shrunk_towers_of_pixels_equal_pillow(height: int, width: int) -> None:
    """Very tall pictures that shrink: the order of the passes shows in them, and it is that of Pillow 12.2."""
    picture = _noise(height, width)
    assert (shortest_side_crop(picture, 224) == pillow_crop(Image.fromarray(picture), 224)).all()


@pytest.mark.parametrize(("height", "width"), [*SHAPES, (400, 900), (900, 400)])
def test_the_panorama_path_equals_the_whole_one(height: int, width: int) -> None:
    """Where both can be computed they agree, so the limit between them is about memory alone."""
    picture = _smooth(height, width)
    ours = resize._crop_of_panorama(picture, 224).astype(np.int16)
    assert (np.abs(ours - shortest_side_crop(picture, 224)) <= 1).mean() >= WITHIN_ONE


def _smooth(height: int, width: int) -> UInt8:
    """Waves without clipping, so that the order of the two passes can matter by a rounding only."""
    y, x = np.ogrid[:height, :width]
    waves = 128 + 60 * np.sin(x / 9.0) + 60 * np.cos(y / 7.0)
    return np.repeat(waves[..., None], 3, 2).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width"), [(20, 20_000), (1, 5000), (5000, 1), (1, 2_000_000), (2_000_000, 1), (1_000_000, 8)]
)
def test_panoramas_need_no_memory_for_what_is_cut_away(height: int, width: int) -> None:
    """Whole, these would be 200 MB to 400 GB."""
    picture = np.full((height, width, 3), 77, np.uint8)
    assert (shortest_side_crop(picture, 224) == 77).all()


def test_input_is_left_alone() -> None:
    picture = _noise(50, 70)
    before = picture.copy()
    squash(picture, 224)
    shortest_side_crop(picture, 224)
    assert (picture == before).all()


def test_views_are_taken_as_they_look() -> None:
    """Pictures that are not contiguous in memory."""
    picture = _noise(300, 400)[::2, ::-1]
    assert (squash(picture, 224) == squash(np.ascontiguousarray(picture), 224)).all()
    assert (shortest_side_crop(picture, 224) == shortest_side_crop(np.ascontiguousarray(picture), 224)).all()
