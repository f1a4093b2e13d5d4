"""JPEG 2000: its size, tiles and components."""

import math

from ml_target.imaging.avif import boxes
from ml_target.imaging.source import Source, implausible, not_a_picture
from ml_target.imaging.structure import CORE, FIXED, PIXEL, Structure

MAX_TILES = 65_535
"""By the standard."""

TILE, TILE_COMPONENT = 8 * 1024, 2 * 1024
"""Bytes that OpenJPEG keeps for each tile, and for each component of it, before any is decoded."""

_SIZ = b"\xff\x4f\xff\x51"


def probe(source: Source) -> Structure:
    """The SIZ segment of the code stream, in a JP2 file or bare."""
    start = 0
    if source.at(0, 4) != _SIZ:
        start = next((box.start for box in boxes(source, 0, source.size) if box.kind == b"jp2c"), -1)
        if start < 0 or source.at(start, 4) != _SIZ:
            raise not_a_picture("a JPEG 2000 file without a picture")
    right, bottom, left, top, tile_width, tile_height = (source.number(start + 8 + 4 * n, 4) for n in range(6))
    components = source.number(start + 40, 2)
    width, height = max(0, right - left), max(0, bottom - top)
    if not (tile_width and tile_height and components):
        raise not_a_picture("a JPEG 2000 file without tiles")
    tile_left, tile_top = source.number(start + 32, 4), source.number(start + 36, 4)
    across = math.ceil(max(0, right - tile_left) / tile_width)
    down = math.ceil(max(0, bottom - tile_top) / tile_height)
    if across * down > MAX_TILES:
        raise implausible(f"a JPEG 2000 file of {across * down:,} tiles")
    precision = source.exactly(start + 42, 3 * components)[::3]
    per_pixel = sum(4.2 + math.ceil(((bits & 0x7F) + 1) / 8) for bits in precision)
    tile = min(tile_width, width) * min(tile_height, height)
    tables = across * down * (TILE + components * TILE_COMPONENT)
    pixels = width * height
    cost = max(CORE * pixels + int(per_pixel * tile), (CORE + PIXEL) * pixels) + tables + source.size + FIXED
    return Structure("JPEG2000", width, height, cost)
