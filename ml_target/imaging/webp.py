"""WebP: the size of its canvas."""

from ml_target.imaging.source import Source, not_a_picture
from ml_target.imaging.structure import FIXED, Structure

DECODING = 16
"""Bytes per pixel: two canvases of the decoder, the frame as bytes, and Pillow's picture."""

COPIES = 3
"""Of the file: as read, as joined, as the decoder keeps it."""

USUAL_SIZE = 32 * 2**20
_ANIMATION = 0x02


def probe(source: Source) -> Structure:
    """The first chunk: VP8X of an extended file, VP8 or VP8L of a simple one."""
    kind = source.exactly(12, 4)
    animated = False
    if kind == b"VP8X":
        flags = source.number(20, 1)
        animated = bool(flags & _ANIMATION)
        width, height = 1 + source.number(24, 3, "little"), 1 + source.number(27, 3, "little")
    elif kind == b"VP8L":
        bits = source.number(21, 4, "little")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif kind == b"VP8 ":
        width, height = source.number(26, 2, "little") & 0x3FFF, source.number(28, 2, "little") & 0x3FFF
    else:
        raise not_a_picture("a WebP without a picture")
    cost = DECODING * width * height + COPIES * source.size + FIXED
    return Structure("WEBP", width, height, cost, not animated and source.size <= USUAL_SIZE)
