"""Bytes to pixels, as Immich's official worker decodes them: full size, converted to RGB. Pillow says what they are.

EXIF orientation and colour profiles are ignored on purpose: boxes and sizes are those of the
stored raster, and the official worker does not colour-manage. Files are hostile until decoded.
"""

import io
from typing import BinaryIO

import numpy as np

from ml_target.errors import WorkerError
from ml_target.imaging import raster, turbojpeg
from ml_target.imaging.formats import probe
from ml_target.imaging.structure import PIXEL, Structure
from ml_target.tensors import UInt8


def decode(data: bytes | BinaryIO, max_pixels: int) -> UInt8:
    """The first frame in this process: H x W x 3 RGB uint8, read-only. Raises as `probe` and `decode_known` do."""
    return decode_known(data, probe(data, max_pixels))


def decode_known(data: bytes | BinaryIO, structure: Structure) -> UInt8:
    """As `decode`, of a file whose structure is known.

    Raises UnusableInput for damaged data, Unavailable where there is not enough memory.
    """
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    quick = turbojpeg.read(stream, structure)
    if quick is not None:
        return quick
    stream.seek(0)
    room = np.empty(structure.pixels * PIXEL, np.uint8)
    try:
        height, width = raster.read(stream, structure.format, room.data, structure.cost)
    except WorkerError:
        del room  # an error that is kept must not keep the pixels
        raise
    pixels = room[: height * width * PIXEL].reshape(height, width, PIXEL)
    pixels.flags.writeable = False
    return pixels


def decode_half(stream: BinaryIO, structure: Structure) -> UInt8 | None:
    """The picture at half its size, H/2 x W/2 x 3 RGB uint8, read-only, where `turbojpeg.halves` it.

    None for a file with any fault: `decode_known` then says what it is.
    """
    return turbojpeg.read(stream, structure, half=True)
