"""Pictures that hurt: small files that take long, much memory, or Python's lock to decode. Drawn by nobody."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

JPEG_ZIGZAG = 63
RUN = 32767
"""Blocks that one end-of-band code can cover (EOB14 with all bits set)."""


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def slow_jpeg(width: int, height: int, scans: int) -> bytes:
    """A grey progressive JPEG: one scan of averages, and `scans` - 1 that say of every block that nothing changes."""
    blocks = -(-width // 8) * -(-height // 8)
    frame = struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00"
    # Averages: one code of one bit, "no difference". The rest: 0 is "end of this block", 10 is EOB14, "of a run".
    averages = b"\x00" + bytes([1] + [0] * 15) + b"\x00"
    bands = b"\x10" + bytes([1, 1] + [0] * 14) + b"\x00\xe0"
    head = b"\xff\xd8" + _segment(0xDB, b"\x00" + b"\x01" * 64) + _segment(0xC2, frame)
    head += _segment(0xC4, averages) + _segment(0xC4, bands)
    flat = _bits("0" * blocks)
    nothing = _bits(("10" + "1" * 14) * -(-blocks // RUN))
    data = [head, _segment(0xDA, b"\x01\x01\x00\x00\x00\x00"), flat]
    for number in range(scans - 1):
        low = 1 if number else 13  # the first says 13 bits are to come, the rest that one more did
        high_low = (low + 1) << 4 | low if number else low
        data += [_segment(0xDA, bytes([1, 1, 0x00, 1, JPEG_ZIGZAG, 0x00 if number else high_low])), nothing]
    return b"".join([*data, b"\xff\xd9"])


def _bits(text: str) -> bytes:
    """Bits as JPEG packs them: the rest of the last byte set, each 0xFF followed by a zero."""
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")


def one_pixel_in_a_tile(side: int) -> bytes:
    """A TIFF of one grey pixel, which lies in a deflated tile of `side` x `side`."""
    packed = _zeros(side * side)
    entries = {256: 1, 257: 1, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 0, 325: len(packed)}
    start = 8 + 2 + 12 * len(entries) + 4
    entries[324] = start
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\x00" + struct.pack("<IH", 8, len(entries)) + table + bytes(4) + packed


def _zeros(count: int) -> bytes:
    packer = zlib.compressobj(9)
    blocks = [packer.compress(bytes(min(2**20, count - done))) for done in range(0, count, 2**20)]
    return b"".join(blocks) + packer.flush()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, bits: int = 8, colours: int = 2, interlaced: int = 0) -> bytes:
    ihdr = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", ihdr)


def cut_png(width: int, height: int) -> bytes:
    """An RGB PNG of zeros, of which the last twentieth is missing."""
    packed = _zeros((1 + 3 * width) * height)
    return png_header(width, height) + png_chunk(b"IDAT", packed[: len(packed) * 19 // 20])


def flat_jpeg2000(width: int, height: int) -> bytes:
    """One grey in JPEG 2000, in one tile: a kilobyte, whose decoder holds Python's lock all the while."""
    return saved(Image.new("RGB", (width, height), (90, 90, 90)), "JPEG2000")


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Colours that change slowly, with grain: it costs a decoder what a photo does."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (13, 17, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(coarse).copy()
    for top in range(0, height, 512):  # a band at a time: large ones would take gigabytes
        band = pixels[top : top + 512]
        band += rng.integers(0, 9, band.shape, np.uint8)
    return Image.fromarray(pixels)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


FORMS: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG": lambda image: saved(image, "JPEG", quality=88),
    "JPEG 4:4:4 progressive": lambda image: saved(image, "JPEG", quality=88, progressive=True, subsampling=0),
    "JPEG CMYK": lambda image: saved(image.convert("CMYK"), "JPEG", quality=88),
    "WebP": lambda image: saved(image, "WEBP", quality=80, method=0),
    "WebP alpha, lossless": lambda image: saved(_with_alpha(image), "WEBP", lossless=True, quality=0, method=0),
    "PNG": lambda image: saved(image, "PNG", compress_level=1),
    "PNG alpha": lambda image: saved(_with_alpha(image), "PNG", compress_level=1),
    "PNG grey, 16 bits": lambda image: saved(_sixteen_bits(image), "PNG", compress_level=1),
    "AVIF": lambda image: saved(image, "AVIF", quality=60, speed=10),
    "AVIF alpha, 4:4:4": lambda image: saved(_with_alpha(image), "AVIF", quality=60, speed=10, subsampling="4:4:4"),
    "JPEG 2000": lambda image: saved(image, "JPEG2000", irreversible=True, quality_layers=[40]),
    "JPEG 2000, tiles": lambda image: saved(
        image, "JPEG2000", irreversible=True, quality_layers=[40], tile_size=(1024, 1024)
    ),
    "GIF": lambda image: saved(image.quantize(64), "GIF"),
    "BMP": lambda image: saved(image, "BMP"),
    "TIFF": lambda image: saved(image, "TIFF"),
    "TIFF, LZW, one strip": lambda image: saved(image, "TIFF", compression="tiff_lzw", tiffinfo={278: image.height}),
    "PPM": lambda image: saved(image, "PPM"),
    "TGA": lambda image: saved(image, "TGA", compression="tga_rle"),
    "PCX": lambda image: saved(image, "PCX"),
}
"""Ordinary pictures in every format and the ways of it that take other memory."""


def _with_alpha(image: Image.Image) -> Image.Image:
    copy = image.convert("RGBA")
    copy.putalpha(image.getchannel("G"))
    return copy


def _sixteen_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
