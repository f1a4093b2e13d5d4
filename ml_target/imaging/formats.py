"""Which format a file has, and its structure, within the limit on pixels."""

from collections.abc import Callable
from typing import BinaryIO

from ml_target.errors import TooLarge, UnusableInput
from ml_target.imaging import avif, jpeg, jpeg2000, plain, png, tiff, webp
from ml_target.imaging.source import Source, TakesLongerError, not_a_picture
from ml_target.imaging.structure import Structure

HEAD = 18
"""Bytes that tell the format: a TGA has no magic number, only a plausible header."""

_DIB_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_TIFF = (b"II*\0", b"MM\0*", b"MM*\0", b"II\0*", b"MM\0+", b"II+\0")
_JPEG2000 = (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")
_AVIF = (b"avif", b"avis", b"mif1", b"msf1")


def _is_tga(head: bytes) -> bool:
    return (
        len(head) == HEAD
        and head[1] in (0, 1)
        and head[2] in (1, 2, 3, 9, 10, 11)
        and any(head[12:14])
        and any(head[14:16])
        and head[16] in (1, 8, 16, 24, 32)
    )


# Everything Pillow decodes by itself, in the order in which it tries them; the first that fits is the format. Left out
# are formats that start other programs (EPS) or hold no raster of their own (WMF, PDF), and those that Pillow decodes
# on opening (ICO).
FORMATS: dict[str, tuple[Callable[[bytes], bool], Callable[[Source], Structure]]] = {
    "JPEG": (lambda head: head.startswith(b"\xff\xd8\xff"), jpeg.probe),
    "WEBP": (lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP", webp.probe),
    "PNG": (lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"), png.probe),
    "AVIF": (lambda head: head[4:8] == b"ftyp" and head[8:12] in _AVIF, avif.probe),
    "GIF": (lambda head: head.startswith((b"GIF87a", b"GIF89a")), plain.probe_gif),
    "BMP": (lambda head: head.startswith(b"BM"), plain.probe_bmp),
    "DIB": (lambda head: int.from_bytes(head[:4], "little") in _DIB_HEADERS, plain.probe_dib),
    "TIFF": (lambda head: head.startswith(_TIFF), tiff.probe),
    "JPEG2000": (lambda head: head.startswith(_JPEG2000), jpeg2000.probe),
    "PPM": (lambda head: head[:1] == b"P" and head[1:2] in tuple(b"%c" % c for c in b"0123456fy"), plain.probe_ppm),
    "TGA": (_is_tga, plain.probe_tga),
    "PCX": (lambda head: head[:1] == b"\x0a" and head[1:2] in (b"\0", b"\2", b"\3", b"\5"), plain.probe_pcx),
}


def probe(data: bytes | BinaryIO, max_pixels: int) -> Structure:
    """The structure of a file; nothing is decoded.

    Raises UnusableInput for what is not a picture or what only a harmful file has, TooLarge above `max_pixels`.
    """
    return _structure(Source(data), max_pixels)


def probe_at_once(data: bytes | BinaryIO, max_pixels: int) -> Structure | None:
    """The same in less than a millisecond, as for most photos; None for a file of which more has to be read."""
    try:
        return _structure(Source(data, at_once=True), max_pixels)
    except TakesLongerError:
        return None


def _structure(source: Source, max_pixels: int) -> Structure:
    head = source.at(0, HEAD)
    reader = next((reader for fits, reader in FORMATS.values() if fits(head)), None)
    if reader is None:
        raise not_a_picture("its format is unknown")
    structure = reader(source)
    source.stream.seek(0)
    if structure.width < 1 or structure.height < 1:
        raise UnusableInput("Image has zero width or height", "Send a picture with at least one pixel.")
    if structure.pixels > max_pixels:
        raise TooLarge(
            f"The picture has {structure.width} x {structure.height} pixels, more than {max_pixels:,}",
            "Send a smaller one, or raise MAX_PIXELS if the machine has the memory.",
        )
    return structure
