"""Turns, scales and shifts faces, so that eyes, nose and mouth are where a recogniser expects them."""

import math

import cv2
import numpy as np
import numpy.typing as npt

from ml_target.tensors import Float32, UInt8

Float64 = npt.NDArray[np.float64]

ARCFACE_SIZE = 112
# Left eye, right eye (as seen in the picture), nose, left and right corner of the mouth;
# InsightFace's template for a 112 x 112 crop, which every ArcFace network was trained with.
ARCFACE_POINTS: Float64 = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
_LONGEST_SIDE = 32_766  # OpenCV's warps keep coordinates in 16 bits


def similarity(landmarks: Float32, size: int = ARCFACE_SIZE) -> Float64:
    """The similarity transforms that bring faces onto the template, least squares.

    `landmarks`: ... x 5 x 2, x and y in picture pixels. Returns ... x 2 x 3 float64 matrices from
    picture to crop coordinates (rotation, one scale, shift; never a reflection), as Umeyama (1991)
    finds them. Raises ValueError for a face whose landmarks are not finite or all the same point.

    In the plane the answer is one complex number: with both point sets centred, the `a` that
    minimises ``|a * source - target|`` is their inner product over the squared length of the source.
    """
    points = np.asarray(landmarks, np.float64)
    target = ARCFACE_POINTS * (size / ARCFACE_SIZE)
    middle, target_middle = points.mean(axis=-2), target.mean(axis=0)
    source = points - middle[..., None, :]
    target = target - target_middle
    length = (source**2).sum(axis=(-2, -1))
    if not (np.isfinite(points).all() and (length > 0).all()):
        raise ValueError("the landmarks of a face are one point, or not numbers")
    along = (source * target).sum(axis=(-2, -1)) / length
    across = (source[..., 0] * target[:, 1] - source[..., 1] * target[:, 0]).sum(axis=-1) / length
    linear = np.stack([np.stack([along, -across], -1), np.stack([across, along], -1)], -2)
    shift = target_middle - (linear @ middle[..., None])[..., 0]
    matrices: Float64 = np.concatenate([linear, shift[..., None]], axis=-1)
    return matrices


def align(picture: UInt8, landmarks: Float32, size: int = ARCFACE_SIZE) -> list[UInt8]:
    """One crop for every face, cut from the full-size picture.

    `picture`: H x W x 3 uint8 of any colour order. `landmarks`: N x 5 x 2 in its pixels. Returns N
    crops `size` x `size` x 3 uint8 in the same colour order: bilinear, black beyond the border.
    Raises ValueError as `similarity` does.
    """
    return [_warp(picture, matrix, size) for matrix in similarity(landmarks, size)]


def _warp(picture: UInt8, matrix: Float64, size: int) -> UInt8:
    if max(picture.shape[:2]) > _LONGEST_SIDE:
        picture, matrix = _cut(picture, matrix, size)
    return np.asarray(
        cv2.warpAffine(
            picture, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
        ),
        dtype=np.uint8,
    )


def _cut(picture: UInt8, matrix: Float64, size: int) -> tuple[UInt8, Float64]:
    """The part of a very long picture that the crop shows, and the matrix for that part."""
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]], np.float64)
    seen = (corners - matrix[:, 2]) @ np.linalg.pinv(matrix[:, :2]).T
    slices = []
    for axis, side in ((1, picture.shape[0]), (0, picture.shape[1])):
        start = math.floor(min(max(seen[:, axis].min() - 2, 0), side - 1))
        stop = math.ceil(min(max(seen[:, axis].max() + 3, start + 1), side))
        slices.append(slice(start, stop, math.ceil((stop - start) / _LONGEST_SIDE)))
    rows, columns = slices
    shift = matrix[:, :2] @ [columns.start, rows.start] + matrix[:, 2]
    steps = matrix[:, :2] * [columns.step, rows.step]
    return np.ascontiguousarray(picture[rows, columns]), np.column_stack([steps, shift])
