"""Alignment: the matrix against scikit-image. The crop is compared with InsightFace's in tests/parity."""

import numpy as np
import parity_table as parity
import pytest
from numpy.typing import NDArray
from random_faces import landmarks

from ml_target.tasks.faces.align import ARCFACE_POINTS, align, similarity
from ml_target.tensors import Float32, UInt8


def umeyama(points: Float32) -> NDArray[np.float64]:
    transform = pytest.importorskip(
        "skimage.transform", reason="scikit-image is missing; `./setup.sh test` installs it"
    )
    if hasattr(transform.SimilarityTransform, "from_estimate"):
        found = transform.SimilarityTransform.from_estimate(points.astype(np.float64), ARCFACE_POINTS)
    else:
        found = transform.SimilarityTransform()
        found.estimate(points.astype(np.float64), ARCFACE_POINTS)
    matrix: NDArray[np.float64] = found.params[:2]
    return matrix


def test_equals_umeyama() -> None:
    faces = landmarks(60)
    expected = np.stack([umeyama(face) for face in faces])
    error = float(np.abs(similarity(faces) - expected).max())
    parity.record("face alignment", "matrix vs scikit-image, largest difference", error, "≤ 1e-9")
    assert error <= 1e-9
    np.testing.assert_allclose(similarity(faces[3]), expected[3], atol=1e-9)


@pytest.mark.parametrize("flip", [(-1, 1), (1, -1)])
def test_mirrored_landmarks_are_not_mirrored_back(flip: tuple[int, int]) -> None:
    faces = landmarks(20) * np.array(flip, np.float32)
    matrices = similarity(faces)
    np.testing.assert_allclose(matrices, np.stack([umeyama(face) for face in faces]), atol=1e-9)
    assert (np.linalg.det(matrices[:, :, :2]) >= 0).all()


def test_landmarks_in_a_line_equal_umeyama() -> None:
    line = np.stack([np.arange(5) * 7, np.arange(5) * 3], -1).astype(np.float32)
    np.testing.assert_allclose(similarity(line), umeyama(line), atol=1e-9)


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), 31.7), np.full((5, 2), np.nan)])
def test_a_face_without_extent_is_refused(points: Float32) -> None:
    faces = np.concatenate([landmarks(2), points[None].astype(np.float32)])
    with pytest.raises(ValueError, match="landmarks"):
        align(np.zeros((50, 50, 3), np.uint8), faces)


def test_no_faces_no_crops() -> None:
    assert align(np.zeros((50, 50, 3), np.uint8), np.empty((0, 5, 2), np.float32)) == []


def test_other_sizes_scale_the_template() -> None:
    np.testing.assert_allclose(similarity(landmarks(3), 224), 2 * similarity(landmarks(3)), atol=1e-9)


@pytest.mark.parametrize("shape", [(60, 70_000), (70_000, 60)])
def test_very_long_pictures(shape: tuple[int, int]) -> None:
    """Past OpenCV's 16-bit coordinates the crop is cut from the part that it shows."""
    random = np.random.default_rng(2)
    picture: UInt8 = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
    along = int(shape[1] > shape[0])
    at = np.array([65_000, 5] if along else [5, 65_000], np.float32)
    face = landmarks(1, 60, 0) + 20
    [crop] = align(picture, (face + at).astype(np.float32))
    start = np.array([64_500, 0] if along else [0, 64_500], np.float32)
    part: UInt8 = np.ascontiguousarray(picture[int(start[1]) :, int(start[0]) :])
    [expected] = align(part, np.asarray(face + at - start, np.float32))
    assert np.abs(crop.astype(int) - expected.astype(int)).max() <= 4, "shifts of float32 landmarks this far out"


def test_a_face_wider_than_opencv_can_warp() -> None:
    picture = np.zeros((40, 70_000, 3), np.uint8)
    picture[:, 35_000:] = 255
    face = np.array([[[20_000, 20], [50_000, 20], [35_000, 20], [25_000, 20], [45_000, 20]]], np.float32)
    [crop] = align(picture, face)
    assert crop.shape == (112, 112, 3)
    [far] = align(picture, face + np.float32(1e6))
    assert not far.any(), "nothing of the picture is in it"


def test_warp_uses_the_full_size_picture_untouched() -> None:
    picture = np.full((300, 300, 3), (10, 120, 250), np.uint8)
    [crop] = align(picture, (ARCFACE_POINTS + 90).astype(np.float32)[None])
    assert (crop == (10, 120, 250)).all(), "channels keep their order"
