"""TIFF: its first directory, whose strips or tiles may be larger than the picture."""

from typing import Literal

from ml_target.imaging.source import Source, implausible, not_a_picture, too_much
from ml_target.imaging.structure import CORE, FIXED, PIXEL, Structure

MAX_ENTRIES = 4096
MAX_VALUES = 1_000_000
"""Of one entry: a strip for each row of the largest picture needs fewer. Pillow turns all into Python numbers."""

USUAL_PART = 64 * 2**20
"""Bytes of a strip or tile that may be larger than the picture: small pictures lie in one tile."""

_WIDTH, _HEIGHT, _BITS, _SAMPLES, _ROWS, _PLANES, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 258, 277, 278, 284, 322, 323
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE_NUMBERS = (1, 3, 4, 16)


def probe(source: Source) -> Structure:
    """The first directory, of a classic TIFF or a BigTIFF."""
    order: Literal["big", "little"] = "big" if source.at(0, 2) == b"MM" else "little"
    big = 43 in source.exactly(2, 2)
    values, metadata = _directory(source, order, big)
    width, height = values.get(_WIDTH, 0), values.get(_HEIGHT, 0)
    bits = max(8, values.get(_BITS, 1)) * (1 if values.get(_PLANES) == 2 else values.get(_SAMPLES, 1))
    per_pixel = max(CORE, bits // 8)
    if _TILE_WIDTH in values:
        part = per_pixel * values[_TILE_WIDTH] * values.get(_TILE_HEIGHT, height)
    else:
        part = per_pixel * width * min(height, values.get(_ROWS, height) or height)
    pixels = width * height
    if part > USUAL_PART and part > 4 * per_pixel * pixels:
        raise too_much(f"{width} x {height} pixels lie in a tile of {part // per_pixel:,}")
    # Pillow turns the picture by its orientation, which takes a second copy.
    cost = max(CORE * pixels + part + part // 4, (CORE + CORE) * pixels, (CORE + PIXEL) * pixels)
    return Structure("TIFF", width, height, cost + 12 * metadata + 4 * FIXED)


def _directory(source: Source, order: Literal["big", "little"], big: bool) -> tuple[dict[int, int], int]:
    """The first value of each entry that has whole numbers, and the bytes of all entries."""
    word, offset_size, entry_size = (8, 8, 20) if big else (2, 4, 12)
    start = source.number(8 if big else 4, offset_size, order)
    count = source.number(start, word, order)
    if count > MAX_ENTRIES:
        raise implausible(f"a TIFF directory of {count:,} entries")
    table = source.at(start + word, count * entry_size)
    values: dict[int, int] = {}
    metadata = 0
    for n in range(0, len(table) - entry_size + 1, entry_size):
        entry = table[n : n + entry_size]
        tag, kind = int.from_bytes(entry[:2], order), int.from_bytes(entry[2:4], order)
        size, number = _SIZES.get(kind, 0), int.from_bytes(entry[4:-offset_size], order)
        if size > 1 and number > MAX_VALUES:
            raise implausible(f"a TIFF entry of {number:,} values")
        metadata += min(size * number, source.size)
        if kind in _WHOLE_NUMBERS and number:
            place = entry[-offset_size:]
            inside = size * number <= offset_size
            first = place[:size] if inside else source.at(int.from_bytes(place, order), size)
            values[tag] = int.from_bytes(first, order)
    if not values.get(_WIDTH) and not values:
        raise not_a_picture("a TIFF without a directory")
    return values, metadata
