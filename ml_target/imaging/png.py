"""PNG: its chunks."""

from ml_target.imaging.source import Source, implausible, not_a_picture
from ml_target.imaging.structure import CORE, FIXED, PIXEL, Structure

USUAL_CHUNKS, MAX_CHUNKS = 20_000, 200_000
"""Chunks of pixel data hold 8 KB and more; Pillow handles one after the other in Python."""

USUAL_PACKED = 8
"""Chunks of compressed texts or profiles; Pillow unpacks each to as much as 1 MiB."""

USUAL_METADATA = 4 * 2**20
TEXTS = 64 * 2**20
"""The most bytes of text that Pillow unpacks (MAX_TEXT_MEMORY)."""

_PACKED = (b"iCCP", b"zTXt", b"iTXt")
_DATA = (b"IDAT", b"fdAT")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def probe(source: Source) -> Structure:
    """Walks the chunks to IEND or the end of the file."""
    header = b""
    chunks = packed = metadata = 0
    animated = False
    offset = 8
    while offset + 8 <= source.size:
        head = source.at(offset, 8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise implausible(f"a PNG of more than {MAX_CHUNKS:,} chunks")
        if kind == b"IHDR":
            if header:
                raise implausible("a PNG with two headers")
            header = source.exactly(offset + 8, 13)
        elif kind == b"IEND":
            break
        elif kind not in _DATA:
            metadata += min(length, source.size)
            packed += kind in _PACKED
            animated |= kind == b"acTL"
        offset += 12 + length
    if not header:
        raise not_a_picture("a PNG without a header")
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits, colours = header[8], header[9]
    core = 1 if colours in (0, 3) and bits <= 8 else CORE
    ordinary = not animated and chunks <= USUAL_CHUNKS and packed <= USUAL_PACKED and metadata <= USUAL_METADATA
    rows = 4 * width * max(1, _CHANNELS.get(colours, 4) * bits // 8)
    texts = min(TEXTS, packed * 2**20) + 2 * metadata
    frames = 2 * core if animated else 0
    cost = (core + frames + PIXEL) * width * height + rows + texts + FIXED
    return Structure("PNG", width, height, cost, ordinary)
