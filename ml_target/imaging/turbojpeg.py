"""The quick way for JPEG: libjpeg-turbo itself (`simplejpeg`), straight into the array that is handed out.

Pillow goes the same way in 64-KiB steps, and through memory of its own that has four bytes a pixel. It stays the judge
of what is a picture: it reads the header, and whatever is not a plain grey or RGB file without the least complaint is
left to it. So the quick way accepts nothing that Pillow refuses, and gives its pixels.
"""

import io
from typing import BinaryIO

import numpy as np
import simplejpeg
from PIL import Image

from ml_target.imaging.structure import PIXEL, Structure
from ml_target.system.growing import GrowingFile
from ml_target.tensors import UInt8

_MODES = ("RGB", "L")
"""CMYK is left out: simplejpeg makes RGB of it with other roundings."""


def halves(structure: Structure, least: int) -> bool:
    """Whether it can be decoded at half its size, and then has at least `least` pixels on its shorter side.

    Only even sides have an exact half: of the others the last pixel would stand for something beyond the picture.
    """
    sides = structure.width, structure.height
    return _may_take(structure) and not any(side % 2 for side in sides) and min(sides) >= 2 * least


def read(file: BinaryIO, structure: Structure, half: bool = False) -> UInt8 | None:
    """The picture, H x W x 3 RGB uint8, read-only, or None where Pillow has to decide.

    `half`: at half its size, by libjpeg's own 4 x 4 transform; see `halves`. Takes less memory than the structure says.
    """
    if not isinstance(file, io.BytesIO | GrowingFile) or not _may_take(structure) or not _is_plain(file, structure):
        return None
    width, height = (side // 2 if half else side for side in (structure.width, structure.height))
    scale = {"min_width": width, "min_height": height, "min_factor": 2} if half else {}
    try:
        room = np.empty(width * height * PIXEL, np.uint8)
        data = file.getvalue() if isinstance(file, io.BytesIO) else file.getbuffer()
        decoded = simplejpeg.decode_jpeg(data, buffer=room, strict=True, **scale)
    except Exception:  # a warning is one, too: what Pillow makes of such a file, or what it says of it, counts
        return None
    if decoded.shape != (height, width, PIXEL):
        return None
    pixels = room.reshape(height, width, PIXEL)
    pixels.flags.writeable = False
    return pixels


def _may_take(structure: Structure) -> bool:
    """Nothing can interrupt it, and its lengths are 32-bit numbers: ordinary files keep within limits for both."""
    return structure.format == "JPEG" and structure.ordinary


def _is_plain(file: BinaryIO, structure: Structure) -> bool:
    """Whether Pillow takes the header, and would have all of the file decoded as it is, into grey or RGB."""
    file.seek(0)
    try:
        with Image.open(file, formats=("JPEG",)) as image:
            size = structure.width, structure.height
            # Files of several pictures have another format ("MPO").
            return (
                image.format == "JPEG"
                and image.mode in _MODES
                and image.size == size
                and [tuple(tile) for tile in image.tile] == [("jpeg", (0, 0, *size), 0, (image.mode, ""))]
            )
    except Exception:  # decoders raise errors of any type
        return False
