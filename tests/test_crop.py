"""What the text networks see: sizes by the official rules, crops as Pillow and RapidOCR make them."""

import math
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image
from rapidocr_reference import RapidOcr

from ml_target.preprocessing.crop import (
    MAX_DETECTION_PIXELS,
    crop_size,
    cut,
    cut_line,
    detection_size,
    fixed_frame,
    free_frame,
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


# ---------------------------------------------------------------- detection


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
    assert detection_size(*picture, resolution) == (*expected, False)


def test_sizes_of_every_shape_are_bounded() -> None:
    shapes = [(int(h), int(w)) for h, w in np.exp(RANDOM.uniform(np.log(32), np.log(200_000), (300, 2)))]
    shapes += [(100, 20_000), (20_000, 100), (736, 243_000), (32, 5_592_405), (13_000, 13_000)]
    for height, width in shapes:
        for resolution in (1, 736, 2160, 50_000):
            high, wide, bounded = detection_size(height, width, resolution)
            assert high % 32 == wide % 32 == 0
            assert 32 * 32 <= high * wide <= MAX_DETECTION_PIXELS
            if bounded:  # not much smaller than needed; a side that rounds to one multiple instead of two halves it
                assert high * wide > 0.45 * MAX_DETECTION_PIXELS
            else:
                ratio = min(1.0, resolution / min(height, width))
                assert (high, wide) == tuple(max(32, round(int(n * ratio) / 32) * 32) for n in (height, width))


def test_the_free_frame_is_pillows_lanczos_in_bgr() -> None:
    picture = scene(900, 1300)
    frame = free_frame(picture, 736, "BGR")
    expected = np.asarray(Image.fromarray(picture).resize((1056, 736), Image.Resampling.LANCZOS))
    assert np.array_equal(frame.pixels, expected[..., ::-1])
    assert frame.pixels.flags.c_contiguous
    assert (frame.content, frame.bounded) == ((736, 1056), False)
    assert np.array_equal(free_frame(picture, 736, "RGB").pixels, expected)


def test_far_reductions_take_little_memory_and_look_the_same() -> None:
    picture = scene(2400, 3100)
    expected = np.asarray(Image.fromarray(picture).resize((416, 320), Image.Resampling.LANCZOS), np.float32)
    tracemalloc.start()
    try:
        frame = free_frame(picture, 320, "RGB")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.abs(frame.pixels - expected).mean() < 1.5  # of noise as fine as the target's pixels
    assert peak < picture.nbytes


@pytest.mark.parametrize(("height", "width"), [(1440, 1920), (3200, 1440), (400, 300), (100, 20_000), (20_000, 32)])
def test_the_fixed_frame_has_the_picture_top_left(height: int, width: int) -> None:
    picture = scene(height, width)
    frame = fixed_frame(picture, 544, 960, 736, "BGR")
    high, wide = frame.content
    scale = min(1.0, 544 / height, 960 / width, 736 / min(height, width))
    assert (high, wide) == (max(1, round(height * scale)), max(1, round(width * scale)))
    assert frame.pixels.shape == (544, 960, 3)
    resized = np.asarray(Image.fromarray(picture).resize((wide, high), Image.Resampling.LANCZOS))
    assert np.abs(frame.pixels[:high, :wide, ::-1].astype(np.float32) - resized).mean() < 2
    assert not frame.pixels[high:].any()
    assert not frame.pixels[:, wide:].any()


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


def test_turned_boxes_at_the_rim_and_degenerate_ones() -> None:
    picture = scene(100, 120)
    for _ in range(300):
        corners = np.round(RANDOM.uniform(0, 1, (4, 2)) * (119, 99)).astype(np.float32)
        corners[RANDOM.integers(4)] = corners[RANDOM.integers(4)]
        assert cut(picture, corners).shape == (*crop_size(corners)[::-1], 3)


def test_crops_look_like_rapidocrs() -> None:
    rapidocr, picture = RapidOcr(), scene(900, 900)
    bgr = np.ascontiguousarray(picture[..., ::-1])
    differences = []
    for _ in range(60):
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
