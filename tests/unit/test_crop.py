"""What the text recogniser sees: crops as Pillow and RapidOCR make them."""

import math
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image
from rapidocr_reference import RapidOcr

from ml_target.tasks.ocr.crop import (
    crop_size,
    cut,
    cut_line,
    line_width,
    pad_right,
)
from ml_target.tensors import Float32, UInt8

RANDOM = np.random.default_rng(47)


def scene(height: int, width: int) -> UInt8:
    """Smooth shapes and noise: neither flat nor pure aliasing."""
    small = RANDOM.integers(0, 256, (max(2, height // 8), max(2, width // 8), 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def quad(x1: float, y1: float, x2: float, y2: float) -> Float32:
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float32)


def turned(centre: tuple[float, float], size: tuple[float, float], angle: float) -> Float32:
    """A turned rectangle in whole pixels, its corners from the top left."""
    turn = np.deg2rad(angle)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    upright = quad(-size[0] / 2, -size[1] / 2, size[0] / 2, size[1] / 2)
    return np.asarray(np.round(upright @ matrix + centre), np.float32)


# -------------------------------------------------------------------- lines


def test_straight_boxes_are_cut_out_as_they_are() -> None:
    picture = scene(200, 300)
    assert np.array_equal(cut(picture, quad(20, 30, 120, 50)), picture[30:50, 20:120])
    assert np.array_equal(cut(picture, quad(0, 0, 299, 199)), picture[:199, :299])


def test_turned_boxes_are_pillows_transform_of_the_whole_picture() -> None:
    picture = scene(400, 600)
    for angle in range(-85, 86, 17):
        corners = turned((300, 200), (180, 40), angle)
        width, height = crop_size(corners)
        upright = quad(0, 0, width, height)
        matrix = cv2.getPerspectiveTransform(upright, corners).reshape(-1)[:8].tolist()
        expected = Image.fromarray(picture).transform(
            (width, height), Image.Transform.PERSPECTIVE, matrix, Image.Resampling.BICUBIC
        )
        difference = np.abs(cut(picture, corners).astype(int) - np.asarray(expected))
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.001


@pytest.mark.parametrize("rise", [-30, -3, -1, 1, 2, 17])
@pytest.mark.parametrize("place", [0.0, 0.4, 1.0])
def test_boxes_that_rise_a_little_are_pillows_too(rise: int, place: float) -> None:
    """From the picture's upper rim to its lower one; there Pillow itself cuts."""
    picture = scene(200, 500)
    picture[:, 300:] = 250  # whole numbers stay whole
    top = round(place * (199 - 60 - abs(rise))) + max(0, -rise)
    corners = np.array([(20, top), (470, top + rise), (470, top + rise + 60), (20, top + 60)], np.float32)
    matrix = cv2.getPerspectiveTransform(quad(0, 0, 450, 60), corners).reshape(-1)[:8].tolist()
    expected = Image.fromarray(picture).transform(
        (450, 60), Image.Transform.PERSPECTIVE, matrix, Image.Resampling.BICUBIC
    )
    difference = np.abs(cut(picture, corners).astype(int) - np.asarray(expected))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


def test_a_line_as_large_as_the_picture_takes_little_memory() -> None:
    picture = np.full((900, 1600, 3), 99, np.uint8)
    corners = np.array([(10, 10), (1510, 12), (1510, 812), (10, 810)], np.float32)
    tracemalloc.start()
    try:
        assert (cut(picture, corners) == 99).all()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * picture.nbytes


def test_turned_boxes_at_the_rim_and_degenerate_ones() -> None:
    picture = scene(100, 120)
    for _ in range(100):
        corners = np.round(RANDOM.uniform(0, 1, (4, 2)) * (119, 99)).astype(np.float32)
        corners[RANDOM.integers(4)] = corners[RANDOM.integers(4)]
        assert cut(picture, corners).shape == (*crop_size(corners)[::-1], 3)


def test_crops_look_like_rapidocrs() -> None:
    rapidocr, picture = RapidOcr(), scene(900, 900)
    bgr = np.ascontiguousarray(picture[..., ::-1])
    differences = []
    for _ in range(25):
        size = (float(RANDOM.uniform(40, 300)), float(RANDOM.uniform(10, 200)))
        corners = turned((450, 450), size, float(RANDOM.uniform(-60, 60)))
        expected = rapidocr.crop(bgr, corners)
        width = line_width(corners, 48)
        assert width == math.ceil(48 * (expected.shape[1] / expected.shape[0]))
        line = cut_line(picture, corners, 48, width, "BGR")
        reference = np.asarray(cv2.resize(expected, (width, 48)), np.float32)
        differences.append(float(np.abs(line - reference).mean()))
    # OpenCV's bicubic is sharper than Pillow's and its pixels begin at their centres: it shows on noise, not on text.
    assert max(differences) <= 8


@pytest.mark.parametrize(("width", "height", "runs_down"), [(100, 149, False), (100, 150, True), (20, 200, True)])
def test_text_that_runs_down_is_turned_counter_clockwise(width: int, height: int, runs_down: bool) -> None:
    picture = scene(300, 300)
    corners = quad(10, 10, 10 + width, 10 + height)
    crop = picture[10 : 10 + height, 10 : 10 + width]
    upright = np.rot90(crop) if runs_down else crop
    wanted = math.ceil(48 * (upright.shape[1] / upright.shape[0]))
    assert line_width(corners, 48) == wanted
    expected = cv2.resize(np.ascontiguousarray(upright), (wanted, 48), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(cut_line(picture, corners, 48, wanted, "RGB"), expected)


def test_lines_are_rapidocrs_padded_with_what_becomes_zero() -> None:
    rapidocr, picture = RapidOcr(), scene(200, 500)
    corners = quad(30, 40, 230, 75)
    line = pad_right(cut_line(picture, corners, 48, line_width(corners, 48), "BGR"), 320)
    expected = rapidocr.line(rapidocr.crop(np.ascontiguousarray(picture[..., ::-1]), corners), 320 / 48)
    ours = ((line.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)
    assert np.abs(ours - expected).max() < 1 / 255 + 1e-6
    assert (line[:, line_width(corners, 48) :] == 128).all()


def test_padding_makes_frames_of_their_own() -> None:
    strip = scene(48, 640)
    for window in (strip[:, :320], strip[:, 320:500]):
        frame = pad_right(window, 320)
        assert frame.shape == (48, 320, 3)
        assert frame.flags.c_contiguous
        assert np.array_equal(frame[:, : window.shape[1]], window)
