"""AVIF: the largest picture that its boxes describe, and the memory for a pixel of it."""

from collections.abc import Iterator
from typing import NamedTuple

from ml_target.imaging.source import Source, implausible, not_a_picture
from ml_target.imaging.structure import CORE, FIXED, Structure

MAX_BOXES = 10_000
COPIES = 3
"""Of the file: as read, and as the decoder keeps it."""

FRAMES = 2
"""Sets of planes that the decoder holds at a time: the picture, and one for film grain or for a grid's cell."""

_HIGH, _MONO, _SUBSAMPLED_X, _SUBSAMPLED_Y = 0x40, 0x10, 0x08, 0x04
"""Bits of the third byte of av1C: more than 8 bits, no colours, colours of half the width, of half the height."""


class Box(NamedTuple):
    """A box of an ISO media file: its content lies from `start` to `stop`."""

    kind: bytes
    start: int
    stop: int


def boxes(source: Source, start: int, stop: int) -> Iterator[Box]:
    """The boxes from `start` to `stop`, one level."""
    stop = min(stop, source.size)
    for _ in range(MAX_BOXES):
        head = source.at(start, 16)
        if start + 8 > stop or len(head) < 8:
            return
        length, content = int.from_bytes(head[:4], "big"), start + 8
        if length == 1:
            length, content = int.from_bytes(head[8:16], "big"), start + 16
        end = stop if length == 0 else start + length
        if end < content:
            return
        yield Box(head[4:8], content, min(end, stop))
        start = end
    raise implausible(f"a file of more than {MAX_BOXES:,} boxes")


def probe(source: Source) -> Structure:
    """The largest of the sizes in the file (pictures, cells of a grid, alpha) and its costliest kind of planes."""
    sizes: list[tuple[int, int]] = []
    planes: list[float] = []
    for item in _properties(source):
        if item.kind == b"ispe":
            sizes.append((source.number(item.start + 4, 4), source.number(item.start + 8, 4)))
        elif item.kind == b"av1C":
            planes.append(_bytes_per_pixel(source.number(item.start + 2, 1)))
    if not sizes:
        raise not_a_picture("an AVIF without a size")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    decoding = FRAMES * max(planes, default=6.0) + 2 * CORE + max(0, len(planes) - 1) * 2
    cost = int(decoding * width * height) + COPIES * source.size + 8 * FIXED
    return Structure("AVIF", width, height, cost)


def _properties(source: Source) -> Iterator[Box]:
    for meta in boxes(source, 0, source.size):
        if meta.kind != b"meta":
            continue
        for iprp in boxes(source, meta.start + 4, meta.stop):
            if iprp.kind == b"iprp":
                for ipco in boxes(source, iprp.start, iprp.stop):
                    if ipco.kind == b"ipco":
                        yield from boxes(source, ipco.start, ipco.stop)


def _bytes_per_pixel(flags: int) -> float:
    chroma = 0.0 if flags & _MONO else 2.0 / (1 + bool(flags & _SUBSAMPLED_X)) / (1 + bool(flags & _SUBSAMPLED_Y))
    return (1 + chroma) * (2 if flags & _HIGH else 1)
