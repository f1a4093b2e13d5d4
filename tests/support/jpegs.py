"""JPEG files of every kind a decoder has to tell apart, and ways to damage them; all made, the damage by a seed."""

import random
import struct
from collections.abc import Callable

import numpy as np
import simplejpeg
from hostile_pictures import photo, saved
from PIL import Image

TURNED = 6
"""EXIF's orientation "turn by 90 degrees to show"."""

SUBSAMPLINGS = ("444", "422", "420", "440", "411")
_ODD_FACTORS = (0, 1, 2, 0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x31, 0x41, 0x44, ord("R"), ord("G"), ord("B"))
_MARKERS = (0xC8, 0xCC, 0xDC, 0xDD, 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE)
_STARTS = (b"", b"JFIF\0", b"Adobe\0", b"Exif\0\0", b"MPF\0", b"ICC_PROFILE\0", b"Photoshop 3.0\0")


def kinds(width: int, height: int, quality: int = 80) -> dict[str, bytes]:
    """Whole files that both decoders have to take: name -> bytes."""
    image = photo(width, height)
    grey = image.convert("L")
    exif = Image.Exif()
    exif[0x0112] = TURNED
    files = {s: simplejpeg.encode_jpeg(np.asarray(image), quality=quality, colorsubsampling=s) for s in SUBSAMPLINGS}
    ways: dict[str, dict[str, object]] = {
        "plain": {},
        "progressive": {"progressive": True},
        "restarts": {"restart_marker_blocks": 3},
        "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
        "own tables": {"optimize": True},
    }
    for way, options in ways.items():
        files[f"grey, {way}"] = saved(grey, "JPEG", quality=quality, **options)
        for subsampling in (0, 1, 2):
            files[f"{way}, {SUBSAMPLINGS[subsampling]}"] = saved(
                image, "JPEG", quality=quality, subsampling=subsampling, **options
            )
    files["RGB"] = saved(image, "JPEG", quality=quality, keep_rgb=True)
    files["RGB, progressive"] = saved(image, "JPEG", quality=quality, keep_rgb=True, progressive=True)
    files["turned"] = saved(image, "JPEG", quality=quality, exif=exif, icc_profile=b"x" * 3000, comment=b"hello")
    return files


def others(width: int, height: int, quality: int = 80) -> dict[str, bytes]:
    """Whole files that are Pillow's alone."""
    image = photo(width, height)
    cmyk = saved(image.convert("CMYK"), "JPEG", quality=quality)
    transform = cmyk.index(b"Adobe") + 11
    return {
        "CMYK": cmyk,
        "YCCK": cmyk[:transform] + b"\2" + cmyk[transform + 1 :],
        "two pictures": saved(image, "MPO", quality=quality, save_all=True, append_images=[photo(width, height, 1)]),
    }


# -------------------------------------------------------------------- damage


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The file with one thing wrong. It may still be a right one: some bytes do not matter."""
    return chance.choice(_DAMAGES)(data, chance)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(2, len(data))]


def _flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _header_changed(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 2)):
        changed[chance.randrange(2, scan(data) + 14)] = chance.randrange(256)
    return bytes(changed)


def _frame_changed(data: bytes, chance: random.Random) -> bytes:
    """Sizes, sampling factors, ids of colours."""
    start = next((data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2") if marker in data), 0)
    place = start + 2 + chance.randrange(18)
    return data[:place] + bytes([chance.choice((*_ODD_FACTORS, chance.randrange(256)))]) + data[place + 1 :]


def _bytes_lost(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(2, len(data))
    return data[:start] + data[start + chance.randint(1, 20) :]


def _bytes_more(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(2, len(data))
    return data[:start] + chance.randbytes(chance.randint(1, 20)) + data[start:]


def _end_lost(data: bytes, chance: random.Random) -> bytes:
    return data[:-2] + chance.randbytes(chance.randint(0, 50))


def _more_behind(data: bytes, chance: random.Random) -> bytes:
    return data + chance.randbytes(chance.randint(1, 500))


def _segments_moved(data: bytes, chance: random.Random) -> bytes:
    """One lost, twice there, all in another order, or one that does not belong there."""
    found = segments(data)
    place = chance.randrange(len(found))
    match chance.randrange(4):
        case 0:
            del found[place]
        case 1:
            found.insert(chance.randrange(len(found)), found[place])
        case 2:
            chance.shuffle(found)
        case _:
            content = (chance.choice(_STARTS) + chance.randbytes(14))[: chance.randint(0, 20)]
            found.insert(place, struct.pack(">BBH", 0xFF, chance.choice(_MARKERS), len(content) + 2) + content)
    return data[:2] + b"".join(found) + data[scan(data) :]


_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _cut,
    _flipped,
    _header_changed,
    _frame_changed,
    _bytes_lost,
    _bytes_more,
    _end_lost,
    _more_behind,
    _segments_moved,
)


def scan(data: bytes) -> int:
    """Where the first scan begins."""
    return data.index(b"\xff\xda")


def segments(data: bytes) -> list[bytes]:
    """What stands before the first scan, marker by marker."""
    found, offset, end = [], 2, scan(data)
    while offset < end:
        length = int.from_bytes(data[offset + 2 : offset + 4], "big")
        found.append(data[offset : offset + 2 + length])
        offset += 2 + length
    return found
