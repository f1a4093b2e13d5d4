"""What a file says it is, before anything is decoded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Structure:
    """What a file's headers say; read within a millisecond for usual files.

    `format`: Pillow's name of the format. `width`, `height`: the largest picture that the decoder can make of it.
    `cost`: bytes that decoding takes at its peak, with the finished pixels, beside the upload itself.
    `ordinary`: decoding takes a short time that the size bounds, and leaves Python's lock to others.
    """

    format: str
    width: int
    height: int
    cost: int
    ordinary: bool = False

    @property
    def pixels(self) -> int:
        return self.width * self.height


PIXEL = 3
"""Bytes of a finished pixel: RGB."""

CORE = 4
"""Bytes that Pillow keeps for a pixel of more than one channel, however many there are."""

FIXED = 2 * 2**20
"""Bytes that any decoding takes: buffers, the bands in which pixels are converted."""
