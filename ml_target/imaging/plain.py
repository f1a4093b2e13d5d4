"""Formats whose header is a few numbers: GIF, BMP, PPM, TGA, PCX."""

from ml_target.imaging.source import Source, implausible, not_a_picture
from ml_target.imaging.structure import CORE, FIXED, PIXEL, Structure

MAX_BLOCKS = 10_000
"""Blocks of a GIF before its first frame."""

MAX_HEADER = 1024
"""Bytes of a PPM's header, comments included."""

GIF = 2 + CORE + PIXEL
BMP = 2 * CORE + PIXEL
"""A run-length encoded BMP is unpacked in Python, into bytes first."""

PPM = 8 + CORE + PIXEL
"""A PPM of digits becomes bytes, twice."""

_MODERN = 16
"""Bytes of a BMP header from which on it has 32-bit sizes; the oldest has 12."""


def probe_gif(source: Source) -> Structure:
    """The screen, or more where the first frame reaches beyond it."""
    width, height = source.number(6, 2, "little"), source.number(8, 2, "little")
    flags = source.number(10, 1)
    offset = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    for _ in range(MAX_BLOCKS):
        kind = source.at(offset, 1)
        if kind == b"," or kind in (b"", b";"):
            break
        if kind == b"!":
            offset = _after_blocks(source, offset + 2)
        else:
            offset += 1
    else:
        raise implausible(f"a GIF of more than {MAX_BLOCKS:,} blocks before its picture")
    if len(place := source.at(offset + 1, 8)) == 8:
        left, top, wide, high = (int.from_bytes(place[n : n + 2], "little") for n in (0, 2, 4, 6))
        width, height = max(width, left + wide), max(height, top + high)
    return Structure("GIF", width, height, GIF * width * height + 4 * source.size + FIXED)


def _after_blocks(source: Source, offset: int) -> int:
    for _ in range(MAX_BLOCKS):
        length = source.at(offset, 1)
        if length in (b"", b"\0"):
            return offset + 1
        offset += 1 + length[0]
    raise implausible(f"a GIF with an extension of more than {MAX_BLOCKS:,} blocks")


def probe_bmp(source: Source) -> Structure:
    return _bitmap(source, 14, "BMP")


def probe_dib(source: Source) -> Structure:
    return _bitmap(source, 0, "DIB")


def _bitmap(source: Source, start: int, format: str) -> Structure:
    size = source.number(start, 4, "little")
    if size < _MODERN:
        width, height = source.number(start + 4, 2, "little"), source.number(start + 6, 2, "little")
    else:
        width, height = source.number(start + 4, 4, "little"), source.number(start + 8, 4, "little")
        height = min(height, 2**32 - height)  # negative: the first row on top
    return Structure(format, width, height, BMP * width * height + FIXED)


def probe_ppm(source: Source) -> Structure:
    """Two whole numbers after the magic number; comments go from # to the end of the line."""
    head = source.at(2, MAX_HEADER)
    lines = [line.partition(b"#")[0] for line in head.replace(b"\r", b"\n").split(b"\n")]
    words = b" ".join(lines).split()
    if len(words) < 2 or not (words[0].isdigit() and words[1].isdigit() and max(map(len, words[:2])) < 11):
        raise not_a_picture("a PPM without a size")
    width, height = int(words[0]), int(words[1])
    return Structure("PPM", width, height, PPM * width * height + FIXED)


def probe_tga(source: Source) -> Structure:
    width, height = source.number(12, 2, "little"), source.number(14, 2, "little")
    return Structure("TGA", width, height, (CORE + PIXEL) * width * height + FIXED)


def probe_pcx(source: Source) -> Structure:
    left, top, right, bottom = (source.number(4 + 2 * n, 2, "little") for n in range(4))
    width, height = max(0, right + 1 - left), max(0, bottom + 1 - top)
    return Structure("PCX", width, height, (CORE + PIXEL) * width * height + FIXED)
