"""Letterbox: InsightFace's arithmetic for every shape a picture can have."""

import cv2
import numpy as np
import pytest

from ml_target.tasks.faces.letterbox import letterbox
from ml_target.tensors import UInt8

RANDOM = np.random.default_rng(5)


def noise(height: int, width: int) -> UInt8:
    return RANDOM.integers(1, 256, (height, width, 3), dtype=np.uint8)


def reference(picture: UInt8, height: int, width: int) -> tuple[UInt8, float]:
    """The steps of InsightFace's `detect`, in its order and types."""
    ratio = float(picture.shape[0]) / picture.shape[1]
    if ratio > float(height) / width:
        new_height = height
        new_width = int(new_height / ratio)
    else:
        new_width = width
        new_height = int(new_width * ratio)
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    frame[:new_height, :new_width] = cv2.resize(picture, (new_width, new_height))
    return frame, float(new_height) / picture.shape[0]


@pytest.mark.parametrize(
    "shape", [(1, 1), (640, 640), (480, 640), (641, 333), (1080, 1920), (1997, 1331), (31, 17), (3, 640), (900, 3)]
)
@pytest.mark.parametrize("frame", [(640, 640), (320, 320), (544, 960)])
def test_equals_insightface(shape: tuple[int, int], frame: tuple[int, int]) -> None:
    picture = noise(*shape)
    pixels, scale = letterbox(picture, *frame)
    expected, expected_scale = reference(picture, *frame)
    assert pixels.dtype == np.uint8
    assert scale == expected_scale
    np.testing.assert_array_equal(pixels, expected)


def test_every_size_gets_insightfaces_sides() -> None:
    """Truncation depends on how the division is written; compared where it matters: the content's edge."""
    for height, width in RANDOM.integers(20, 400, (300, 2)):
        pixels, scale = letterbox(np.full((height, width, 3), 255, np.uint8), 640, 640)
        expected, expected_scale = reference(np.full((height, width, 3), 255, np.uint8), 640, 640)
        assert scale == expected_scale
        np.testing.assert_array_equal(pixels[:, 0, 0], expected[:, 0, 0])
        np.testing.assert_array_equal(pixels[0, :, 0], expected[0, :, 0])


@pytest.mark.parametrize(
    ("shape", "content", "scale"),
    [
        ((1, 20_000), (1, 640), 640 / 20_000),
        ((20_000, 1), (640, 1), 640 / 20_000),
        ((2, 70_000), (1, 640), 640 / 70_000),
        ((70_000, 2), (640, 1), 640 / 70_000),
    ],
)
def test_a_side_never_vanishes(shape: tuple[int, int], content: tuple[int, int], scale: float) -> None:
    """InsightFace fails on these; the long side alone is what can be seen of them."""
    pixels, actual = letterbox(np.full((*shape, 3), 200, np.uint8), 640, 640)
    assert actual == pytest.approx(scale)
    assert (pixels[: content[0], : content[1]] == 200).all()
    assert pixels.sum() == 200 * 3 * content[0] * content[1]


def test_rest_is_black_and_the_picture_is_not_touched() -> None:
    picture = noise(100, 50)
    before = picture.copy()
    pixels, _ = letterbox(picture, 640, 640)
    assert pixels[:, :320].any(axis=-1).all()
    assert not pixels[:, 320:].any()
    np.testing.assert_array_equal(picture, before)
