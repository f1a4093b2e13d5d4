"""Large uploads in memory of their own: the same bytes as io.BytesIO, no copies, and given back when closed."""

import io
import random

import numpy as np
import pytest
from hostile_pictures import photo, saved
from jpeg_sides import MOST

from ml_target.imaging import turbojpeg
from ml_target.imaging.formats import probe
from ml_target.imaging.picture import decode
from ml_target.system import growing
from ml_target.system.growing import GrowingFile


def test_it_holds_what_was_written_wherever_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growing, "ROOM", 5000)
    chance = random.Random(4)
    usual, ours = io.BytesIO(b"begun"), GrowingFile(b"begun")
    usual.seek(0, io.SEEK_END)
    for _ in range(60):
        piece = chance.randbytes(chance.randrange(3000))
        assert ours.write(memoryview(piece)) == usual.write(piece) == len(piece)
        assert ours.tell() == usual.tell()
    for _ in range(200):
        way, count = chance.choice([(0, 90_000), (1, 50), (2, 0)]), chance.choice([0, 1, 700, -1, 200_000])
        offset = chance.randrange(way[1] + 1)
        assert ours.seek(offset, way[0]) == usual.seek(offset, way[0])
        assert ours.read(count) == usual.read(count)
    assert bytes(ours.getbuffer()) == usual.getvalue()
    with pytest.raises(OSError, match="before the beginning"):
        ours.seek(-1)


def test_a_buffer_outlives_the_file() -> None:
    with GrowingFile(b"a picture") as file:
        data = file.getbuffer()
    assert bytes(data) == b"a picture"
    assert data.readonly
    with pytest.raises(ValueError, match="closed"):
        file.read()


def test_no_memory_is_told_as_such() -> None:
    file = GrowingFile(b"")
    with pytest.raises(MemoryError, match="no memory for an upload"):
        file.write(_Endless())  # type: ignore[arg-type]


class _Endless:
    """As long as no machine's memory."""

    def __len__(self) -> int:
        return 2**62


def test_a_jpeg_in_it_goes_the_quick_way() -> None:
    data = saved(photo(400, 300), "JPEG")
    structure = probe(data, MOST)
    quick = turbojpeg.read(io.BytesIO(data), structure)
    large = turbojpeg.read(GrowingFile(data), structure)  # type: ignore[arg-type]
    assert quick is not None
    assert large is not None
    np.testing.assert_array_equal(large, quick)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WebP", "TIFF", "GIF", "BMP"])
def test_a_picture_of_any_format_is_the_same_from_it(form: str) -> None:
    data = saved(photo(120, 90), form)
    np.testing.assert_array_equal(decode(GrowingFile(data), MOST), decode(data, MOST))  # type: ignore[arg-type]
