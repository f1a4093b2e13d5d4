"""The quick way for JPEG beside Pillow: the same files taken, the same pixels, and Pillow's word for the rest."""

import io
import random
import struct
import tracemalloc
from collections import Counter

import hostile_pictures as hostile
import numpy as np
import pytest
import simplejpeg
from hostile_pictures import photo, saved
from jpeg_sides import MOST, by_pillow, outcome
from jpegs import damaged, kinds, others, scan, segments
from PIL import Image

from ml_target.errors import UnusableInput
from ml_target.imaging import turbojpeg
from ml_target.imaging.formats import probe
from ml_target.imaging.picture import decode, decode_half

KINDS = kinds(98, 62)
PLAIN = KINDS["plain, 420"]


@pytest.mark.parametrize("size", [(98, 62), (97, 61), (33, 200), (16, 16), (1, 1), (1, 9), (9, 1)])
def test_whole_files_of_every_kind_go_the_quick_way(size: tuple[int, int]) -> None:
    assert {name: outcome(data) for name, data in kinds(*size).items()} == dict.fromkeys(KINDS, "quick")


@pytest.mark.parametrize("kind", others(98, 62))
def test_what_only_pillow_decodes_is_left_to_it(kind: str) -> None:
    data = others(98, 62)[kind]
    assert outcome(data) == "left"
    np.testing.assert_array_equal(decode(data, MOST), by_pillow(data, probe(data, MOST)))


def test_damaged_files_are_judged_by_pillow() -> None:
    chance = random.Random(12)
    files = [*KINDS.values(), *others(98, 62).values()]
    seen = Counter(outcome(damaged(chance.choice(files), chance)) for _ in range(700))
    assert min(seen[each] for each in ("quick", "left", "no picture")) > 5, "all three ways are tried"


def with_segment(marker: int, content: bytes) -> bytes:
    return PLAIN[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + PLAIN[2:]


def adobe(transform: int) -> bytes:
    """Without JFIF's segment, Adobe's decides which colours they are."""
    others = [piece for piece in segments(PLAIN) if piece[1] != 0xE0]
    marker = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transform])
    return PLAIN[:2] + marker + b"".join(others) + PLAIN[scan(PLAIN) :]


def sampled(luma: int, chroma: int) -> bytes:
    """The frame's header alone changed: its data are then read as of other blocks."""
    frame = PLAIN.index(b"\xff\xc0")
    return PLAIN[: frame + 11] + bytes([luma, PLAIN[frame + 12], 2, chroma]) + PLAIN[frame + 15 :]


ODD_ONES = {
    "bytes behind the end": PLAIN + b"and more" * 50,
    "another picture behind the end": PLAIN + KINDS["grey, plain"],
    "no end": PLAIN[:-2],
    "the last scan is missing": KINDS["progressive, 420"][: KINDS["progressive, 420"].rindex(b"\xff\xda")]
    + b"\xff\xd9",
    "a short JFIF segment": with_segment(0xE0, b"JFIF\0"),
    "a short Adobe segment": with_segment(0xEE, b"Adobe"),
    "an EXIF of rubbish": with_segment(0xE1, b"Exif\0\0MM\0*rubbish"),
    "a directory of pictures that is none": with_segment(0xE2, b"MPF\0MM\0*\0\0\0\1"),
    "a profile in parts that do not fit": with_segment(0xE2, b"ICC_PROFILE\0\2\7abc"),
    "a comment without an end": with_segment(0xFE, b"")[:4] + b"\xff\xff" + PLAIN[4:],
    **{f"Adobe's transform {n}": adobe(n) for n in (0, 1, 2, 255)},
    **{
        f"sampled {luma:#x}, {chroma:#x}": sampled(luma, chroma)
        for luma in (0x11, 0x22, 0x31, 0x44)
        for chroma in (0x11, 0x21, 0x22)
    },
}


@pytest.mark.parametrize("kind", ODD_ONES)
def test_odd_ones_are_judged_by_pillow(kind: str) -> None:
    assert outcome(ODD_ONES[kind]) in ("quick", "left", "no picture")


def test_what_libjpeg_takes_and_pillow_refuses_is_refused() -> None:
    data = ODD_ONES["a short JFIF segment"]
    assert simplejpeg.decode_jpeg(data).shape == (62, 98, 3)
    with pytest.raises(UnusableInput, match="not a picture"):
        decode(data, MOST)


def remade(marker: int, bits: int = 8) -> bytes:
    frame = PLAIN.index(b"\xff\xc0")
    return PLAIN[: frame + 1] + bytes([marker]) + PLAIN[frame + 2 : frame + 4] + bytes([bits]) + PLAIN[frame + 5 :]


UNORDINARY = {
    "arithmetic": remade(0xC9),
    "lossless": remade(0xC3),
    "12 bits": remade(0xC1, bits=12),
    "many scans": hostile.slow_jpeg(80, 80, 60),
    "few scans of many pixels": hostile.slow_jpeg(6000, 6000, 10),
    "fill bytes": PLAIN[:20] + b"\xff" + PLAIN[20:],
}


@pytest.mark.parametrize("kind", UNORDINARY)
def test_what_may_take_long_never_goes_the_quick_way(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can interrupt it."""
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *_, **__: pytest.fail("it went there"))
    data = UNORDINARY[kind]
    assert turbojpeg.read(io.BytesIO(data), probe(data, MOST)) is None
    assert not turbojpeg.halves(probe(data, MOST), 1)


@pytest.mark.parametrize("error", [ValueError, RuntimeError, MemoryError])
def test_any_error_of_it_leaves_the_file_to_pillow(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(simplejpeg, "decode_jpeg", fail)
    np.testing.assert_array_equal(decode(PLAIN, MOST), by_pillow(PLAIN, probe(PLAIN, MOST)))


def test_it_decodes_into_the_array_that_is_handed_out() -> None:
    data = saved(photo(1000, 800), "JPEG", quality=80)
    tracemalloc.start()
    try:
        pixels = decode(data, MOST)
        assert tracemalloc.get_traced_memory()[1] < 1.1 * pixels.size, "one array of the picture's size"
    finally:
        tracemalloc.stop()
    assert pixels.flags.c_contiguous
    assert not pixels.flags.writeable


# ---------------------------------------------------------------- half the size


@pytest.mark.parametrize("kind", KINDS)
def test_half_the_size_is_libjpeg_s_own_half(kind: str) -> None:
    """Pillow's draft mode asks libjpeg for the same."""
    half = decode_half(io.BytesIO(KINDS[kind]), probe(KINDS[kind], MOST))
    assert half is not None
    assert half.shape == (31, 49, 3)
    assert not half.flags.writeable
    with Image.open(io.BytesIO(KINDS[kind])) as image:
        image.draft(None, (49, 31))
        np.testing.assert_array_equal(half, np.asarray(image.convert("RGB")))


def test_only_large_jpegs_of_even_sides_are_halved() -> None:
    def halved(data: bytes, least: int) -> bool:
        return turbojpeg.halves(probe(data, MOST), least)

    assert halved(PLAIN, 31)
    assert not halved(PLAIN, 32)
    assert not halved(saved(photo(97, 62), "JPEG"), 20)
    assert not halved(saved(photo(98, 61), "JPEG"), 20)
    assert not halved(saved(photo(98, 62), "PNG"), 20)


def test_a_faulty_file_has_no_half() -> None:
    for data in (PLAIN[:-2], PLAIN[:-300], *others(98, 62).values()):
        assert decode_half(io.BytesIO(data), probe(data, MOST)) is None
