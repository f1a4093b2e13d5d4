"""What is read off a file before it is decoded: size, cost, whether it is ordinary, and what no ordinary file has."""

import io
import struct
import zlib

import hostile_pictures as hostile
import pytest
from hostile_pictures import saved
from PIL import Image

from ml_target.errors import TooLarge, UnusableInput
from ml_target.imaging import source
from ml_target.imaging.formats import FORMATS, probe
from ml_target.imaging.jpeg import MAX_SCANS
from ml_target.imaging.picture import decode

MOST = 200_000_000
PICTURE = hostile.photo(200, 120)


def tiff(entries: dict[int, tuple[int, int]], big: bool = False) -> bytes:
    """A TIFF whose directory has a type and a value for each tag, one of each."""
    if big:
        table = b"".join(struct.pack("<HHQQ", tag, kind, 1, value) for tag, (kind, value) in sorted(entries.items()))
        return b"II+\x00" + struct.pack("<HHQQ", 8, 0, 16, len(entries)) + table + bytes(8)
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in sorted(entries.items()))
    return b"II*\x00" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)


@pytest.mark.parametrize("form", hostile.FORMS)
def test_the_structure_has_the_size_that_pillow_finds(form: str) -> None:
    data = hostile.FORMS[form](PICTURE)
    structure = probe(data, MOST)
    with Image.open(io.BytesIO(data), formats=[structure.format]) as image:
        assert (structure.width, structure.height) == image.size
    assert structure.cost >= 4 * structure.pixels


def test_every_format_is_looked_at() -> None:
    assert {probe(make(PICTURE), MOST).format for make in hostile.FORMS.values()} | {"DIB"} == set(FORMATS)
    assert probe(saved(PICTURE, "DIB"), MOST).format == "DIB"


@pytest.mark.parametrize(("form", "ordinary"), [("JPEG", True), ("WebP", True), ("PNG", True), ("AVIF", False)])
def test_what_immich_sends_is_ordinary(form: str, ordinary: bool) -> None:
    assert probe(hostile.FORMS[form](PICTURE), MOST).ordinary is ordinary


@pytest.mark.parametrize(
    "options", [{"progressive": True}, {"restart_marker_rows": 1}, {"comment": "x", "dpi": (1, 1)}]
)
def test_jpegs_of_many_kinds_are_ordinary(options: dict[str, object]) -> None:
    assert probe(saved(PICTURE, "JPEG", **options), MOST).ordinary


def test_the_longest_ordinary_search_reads_a_jpeg_once() -> None:
    """Markers across the borders of the pieces that are searched."""
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00"
    for gap in range(2**20 - 16, 2**20 + 2):
        data = hostile.slow_jpeg(8, 8, 2)[:-2] + scan + bytes(gap) + scan + b"\x00\xff\xd9"
        assert probe(data, MOST).format == "JPEG"
        with pytest.raises(UnusableInput):
            probe(data[:-3] + (scan + b"\0") * MAX_SCANS, MOST)


def test_hundreds_of_scans_are_refused_and_a_few_dozen_go_outside() -> None:
    assert probe(hostile.slow_jpeg(800, 800, 10), MOST).ordinary
    assert not probe(hostile.slow_jpeg(800, 800, 60), MOST).ordinary
    assert not probe(hostile.slow_jpeg(6000, 6000, 10), MOST).ordinary, "360 million pixels pass by"
    with pytest.raises(UnusableInput, match=r"No ordinary picture .* more than 100 scans.*Save it again"):
        probe(hostile.slow_jpeg(800, 800, 400), MOST)
    assert decode(hostile.slow_jpeg(80, 80, 60), MOST)[0, 0].tolist() == [128] * 3


def test_scans_behind_a_whole_one_are_not_decoded_and_not_counted() -> None:
    data = saved(PICTURE, "JPEG")
    scan = data[data.index(b"\xff\xda") : -2]
    assert probe(data[:-2] + scan * 500 + data[-2:], MOST).ordinary


def test_tricks_with_jpeg_markers_never_count_as_ordinary() -> None:
    data = saved(PICTURE, "JPEG")
    frame = data.index(b"\xff\xc0")
    assert not probe(data[:20] + b"junk" + data[20:], MOST).ordinary
    assert not probe(data[:20] + b"\xff" + data[20:], MOST).ordinary, "fill bytes"
    assert not probe(data[:2] + b"\xff\xfe\x00\x03x" * 600 + data[2:], MOST).ordinary
    assert not probe(data[:2] + (b"\xff\xe1\xff\xff" + bytes(65533)) * 200 + data[2:], MOST).ordinary
    assert not probe(data[:frame] + data[frame : frame + 19] + data[frame:], MOST).ordinary, "two frames of one size"
    larger = data[frame : frame + 5] + struct.pack(">HH", 9000, 9000) + data[frame + 9 : frame + 19]
    with pytest.raises(UnusableInput, match="two sizes"):
        probe(data[:frame] + larger + data[frame:], MOST)
    with pytest.raises(UnusableInput, match="segments"):
        probe(data[:2] + b"\xff\xfe\x00\x02" * 20_000 + data[2:], MOST)
    frameless = data[:frame]
    with pytest.raises(UnusableInput, match="JPEG without a picture"):
        probe(frameless, MOST)


def test_pngs_of_many_chunks_and_packed_texts_go_outside_or_are_refused() -> None:
    data = saved(PICTURE, "PNG")
    text = hostile.png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**20)))
    empty = hostile.png_chunk(b"IDAT", b"")
    assert probe(data[:33] + text * 3 + data[33:], MOST).ordinary
    assert not probe(data[:33] + text * 30 + data[33:], MOST).ordinary
    assert not probe(data[:33] + empty * 30_000 + data[33:], MOST).ordinary
    with pytest.raises(UnusableInput, match="200,000 chunks"):
        probe(data[:33] + empty * 300_000 + data[33:], MOST)
    with pytest.raises(UnusableInput, match="two headers"):
        probe(data[:33] + data[8:33] + data[33:], MOST)
    frames = [PICTURE, hostile.photo(200, 120, seed=1)]
    assert not probe(saved(frames[0], "PNG", save_all=True, append_images=frames[1:]), MOST).ordinary
    assert not probe(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]), MOST).ordinary


def test_a_pixel_in_a_large_tile_is_refused_in_words() -> None:
    small = hostile.one_pixel_in_a_tile(512)
    assert decode(small, MOST).shape == (1, 1, 3)
    huge = {256: (4, 1), 257: (4, 1), 258: (3, 8), 322: (4, 32768), 323: (4, 32768)}
    for data in (tiff(huge), tiff(huge, big=True)):
        with pytest.raises(TooLarge, match=r"1 x 1 pixels lie in a tile of 1,073,741,824"):
            probe(data, MOST)
    strip = {256: (4, 1), 257: (4, 1), 258: (3, 8), 278: (4, 2**32 - 1)}
    assert probe(tiff(strip), MOST).cost < 20 * 2**20, "a strip ends with the picture"


def test_tiff_directories_beyond_reason_are_refused() -> None:
    values = b"II*\x00" + struct.pack("<IHHHII", 8, 1, 273, 4, 30_000_000, 26) + bytes(4)
    with pytest.raises(UnusableInput, match="30,000,000 values"):
        probe(values, MOST)
    with pytest.raises(UnusableInput, match="60,000 entries"):
        probe(b"II*\x00" + struct.pack("<IH", 8, 60_000) + bytes(100), MOST)


def test_jpeg2000_tiles_are_counted() -> None:
    data = bytearray(saved(PICTURE, "JPEG2000", no_jp2=True))
    one = probe(bytes(data), MOST).cost
    struct.pack_into(">II", data, 24, 8, 8)
    assert probe(bytes(data), MOST).cost > one, "many tables weigh more than one small tile"
    struct.pack_into(">II", data, 8, 100_000, 1_000)
    with pytest.raises(UnusableInput, match="1,562,500 tiles"):
        probe(bytes(data), MOST)


def test_a_gif_frame_beyond_the_screen_counts() -> None:
    data = bytearray(saved(PICTURE.quantize(16), "GIF"))
    struct.pack_into("<HH", data, 6, 10, 10)
    assert (probe(bytes(data), MOST).width, probe(bytes(data), MOST).height) == (200, 120)
    assert decode(bytes(data), MOST).shape == (120, 200, 3)


@pytest.mark.parametrize("form", hostile.FORMS)
def test_cut_headers_are_refused_and_never_crash(form: str) -> None:
    data = hostile.FORMS[form](PICTURE)
    for length in [*range(80), *range(80, min(len(data), 900), 13)]:
        try:
            structure = probe(data[:length], MOST)
        except UnusableInput:
            continue
        assert structure.pixels <= MOST


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


_NOTE = b"!\xfe" + b"\x01x" * 9_000 + b"\x00"
_PROPERTIES = _box(b"iprp", _box(b"ipco", _box(b"free", b"") * 9_000))
MANY_PIECES = {
    "markers without a length": b"\xff\xd8" * 400_000,
    "markers amid rubbish": b"\xff\xd8\xff" + b"\xff\x01\x00" * 20_000,
    "notes": b"GIF89a\x10\x00\x10\x00\x00\x00\x00" + _NOTE * 4 + b",",
    "boxes": _box(b"ftyp", b"avif\x00\x00\x00\x00") + _box(b"meta", bytes(4) + _PROPERTIES * 4),
}


@pytest.mark.parametrize("kind", MANY_PIECES)
def test_reading_a_structure_comes_to_an_end(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing interrupts it: 50 MB of pieces of two bytes took minutes. Here it is a tenth as long."""
    monkeypatch.setattr(source, "MAX_READS", source.MAX_READS // 10)
    with pytest.raises(UnusableInput, match=r"more than [\d,]+ (segments|pieces)"):
        probe(MANY_PIECES[kind], MOST)
