"""JPEG: its segments, and how many passes over the picture its scans make."""

import math
from dataclasses import dataclass, field

from ml_target.imaging.source import Source, implausible, not_a_picture
from ml_target.imaging.structure import CORE, FIXED, PIXEL, Structure

USUAL_SCANS = 24
"""Programs write 1 to about 16; each is a pass over the whole picture."""

MAX_SCANS = 100
USUAL_PASSES = 64_000_000
"""Pixels times scans that are decoded in a thread, a quarter of a second or so: photos wait for the same threads."""

USUAL_SEGMENTS, MAX_SEGMENTS = 512, 10_000
USUAL_METADATA = 8 * 2**20
"""Bytes of all segments beside the picture: Pillow joins those of EXIF one by one."""

EOI, SOS, DNL = 0xD9, 0xDA, 0xDC
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_ALONE = (0x01, *range(0xD0, 0xD9))
"""Markers without a length: TEM, the restarts, SOI."""


@dataclass(slots=True)
class _Frame:
    """What the walk has found."""

    marker: int = 0
    precision: int = 8
    width: int = 0
    height: int = 0
    sampling: list[tuple[int, int]] = field(default_factory=list)
    frames: int = 0
    segments: int = 0
    metadata: int = 0
    scans: int = 0
    odd: bool = False
    """It has something that decoders accept and no encoder writes."""

    @property
    def several_scans(self) -> bool:
        return self.marker not in (_BASELINE, _EXTENDED) or self.odd


def probe(source: Source) -> Structure:
    """Walks the markers, through compressed data only where further scans can follow."""
    frame = _Frame()
    offset = 2
    while offset < source.size:
        offset, marker = _next(source, offset, frame)
        if marker == EOI:
            break
        frame.segments += 1  # markers without a length too: a file may be nothing else
        if frame.segments > MAX_SEGMENTS:
            raise implausible(f"a JPEG of more than {MAX_SEGMENTS:,} segments")
        if marker in _ALONE:
            continue
        length = source.number(offset, 2)
        if marker in _FRAMES:
            _read_frame(source, offset, marker, frame)
        elif marker == SOS:
            if _scan(source, offset, frame):
                break
            offset = source.marker(offset + max(2, length))
            continue
        elif marker == DNL or length < 2:
            frame.odd = True
        else:
            frame.metadata += length
        offset += max(2, length)
    if not frame.frames:
        raise not_a_picture("a JPEG without a picture")
    return _structure(source, frame)


def _next(source: Source, offset: int, frame: _Frame) -> tuple[int, int]:
    """The offset after the next marker, and the marker; EOI at the end of the file."""
    head = source.at(offset, 2)
    if len(head) < 2 or head[0] != 0xFF or head[1] in (0x00, 0xFF):
        frame.odd = True
        offset = source.marker(offset)
        head = source.at(offset, 2)
    return offset + 2, head[1] if len(head) == 2 else EOI


def _read_frame(source: Source, offset: int, marker: int, frame: _Frame) -> None:
    head = source.exactly(offset, 8)
    components = head[7]
    if not components:
        raise not_a_picture("a JPEG without colours")
    table = source.exactly(offset + 8, 3 * components)
    frame.frames += 1
    frame.odd |= frame.frames > 1
    if frame.frames > 1 and (frame.width, frame.height) != (_big(head[5:7]), _big(head[3:5])):
        raise implausible("a JPEG that gives two sizes")
    frame.marker, frame.precision = marker, head[2]
    frame.height, frame.width = _big(head[3:5]), _big(head[5:7])
    frame.sampling = [(table[n + 1] >> 4 or 1, table[n + 1] & 15 or 1) for n in range(0, 3 * components, 3)]


def _scan(source: Source, offset: int, frame: _Frame) -> bool:
    """Counts a scan. True where decoders stop after it, as it holds the whole picture."""
    frame.scans += 1
    if frame.scans > MAX_SCANS:
        raise implausible(f"a JPEG of more than {MAX_SCANS} scans, each a pass over the whole picture")
    whole = source.number(offset + 2, 1) == len(frame.sampling)
    return whole and frame.scans == 1 and not frame.several_scans


def _structure(source: Source, frame: _Frame) -> Structure:
    pixels = frame.width * frame.height
    core = CORE if len(frame.sampling) > 1 else 1
    whole = frame.marker in (_BASELINE, _EXTENDED) and frame.scans <= 1
    while_decoding = core * pixels + (0 if whole else _coefficients(frame))
    ordinary = (
        not frame.odd
        and frame.marker in (_BASELINE, _EXTENDED, _PROGRESSIVE)
        and frame.precision == 8
        and frame.scans <= USUAL_SCANS
        and frame.scans * pixels <= USUAL_PASSES
        and frame.segments <= USUAL_SEGMENTS
        and frame.metadata <= USUAL_METADATA
    )
    rows = 64 * frame.width * len(frame.sampling)  # a few rows of blocks and their enlargements
    cost = max(while_decoding, (core + PIXEL) * pixels) + rows + 2 * frame.metadata + FIXED
    return Structure("JPEG", frame.width, frame.height, cost, ordinary)


def _coefficients(frame: _Frame) -> int:
    """Bytes of the coefficients, two each, that are kept where several scans make the picture."""
    across, down = max(h for h, _ in frame.sampling), max(v for _, v in frame.sampling)
    columns, rows = math.ceil(frame.width / (8 * across)), math.ceil(frame.height / (8 * down))
    return sum(128 * columns * h * rows * v for h, v in frame.sampling)


def _big(piece: bytes) -> int:
    return int.from_bytes(piece, "big")
