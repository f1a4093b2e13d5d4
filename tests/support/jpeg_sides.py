"""One JPEG, decoded the quick way and by Pillow alone: which way took it, and whether they agree."""

import io

import numpy as np

from ml_target.errors import WorkerError
from ml_target.imaging import raster, turbojpeg
from ml_target.imaging.formats import probe
from ml_target.imaging.structure import PIXEL, Structure
from ml_target.tensors import UInt8

MOST = 10**9


def by_pillow(data: bytes, structure: Structure) -> UInt8 | None:
    """H x W x 3, or None where Pillow refuses."""
    room = np.empty(structure.pixels * PIXEL, np.uint8)
    try:
        height, width = raster.read(io.BytesIO(data), structure.format, room.data, structure.cost)
    except WorkerError:
        return None
    return room[: height * width * PIXEL].reshape(height, width, PIXEL)


def outcome(data: bytes) -> str:
    """`quick`, `left` to Pillow, or `no picture` by its structure. An AssertionError where the quick way is wrong."""
    try:
        structure = probe(data, MOST)
    except WorkerError:
        return "no picture"
    pixels = turbojpeg.read(io.BytesIO(data), structure)
    if pixels is None:
        return "left"
    expected = by_pillow(data, structure)
    assert expected is not None, "Pillow refuses what the quick way takes"
    np.testing.assert_array_equal(pixels, expected)
    return "quick"
