"""Files of which only parts are read, on a server or on the disk, and the members of archives in them."""

import errno
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import numpy as np
import pytest
import store_files
from file_server import FileServer, hasty

from ml_target.catalogue.types import CheckpointCut
from ml_target.store.offers import Offer
from ml_target.store.sources import Sources
from ml_target.transfer.partial import Readable, WebFile, expect, find, open_archive, opened, pieces
from ml_target.transfer.progress import Progress
from ml_target.transfer.web import CutError, NoRangesError, SourceError

CONTENT = np.random.default_rng(1).bytes(3_000_000)

server = store_files.server


def at(file: Readable, start: int, size: int) -> bytes:
    """Bytes that are announced and then read."""
    expect(file, start, size)
    file.seek(start)
    return b"".join(pieces(file, size))


def unpacked(file: Readable, name: str) -> list[bytes]:
    """A member in the pieces that it comes in."""
    archive = open_archive(file)
    info = find(archive, name)
    with opened(archive, file, info) as member:
        return list(pieces(member, info.file_size))


@pytest.fixture(params=["web", "disk"])
def partial(request: pytest.FixtureRequest, server: FileServer, tmp_path: Path) -> Iterator[Readable]:
    where: str | Path = f"{server.url}/file"
    if request.param == "web":
        server.add("/file", CONTENT)
    else:
        where = tmp_path / "file"
        where.write_bytes(CONTENT)
    with WebFile(hasty(), where) if isinstance(where, str) else where.open("rb") as file:
        yield file


def test_partial_files_read_like_files(partial: Readable) -> None:
    assert partial.seek(0, io.SEEK_END) == len(CONTENT)
    partial.seek(0)
    assert partial.read(10) == CONTENT[:10]
    assert partial.tell() == 10
    partial.seek(-100, io.SEEK_END)
    assert partial.read() == CONTENT[-100:]
    assert partial.read(5) == b""
    partial.seek(65_000)
    partial.seek(500, io.SEEK_CUR)
    assert partial.read(100_000) == CONTENT[65_500:165_500]
    expect(partial, 1_000_001, 1_500_000)
    partial.seek(1_000_001)
    assert b"".join(pieces(partial, 1_500_000)) == CONTENT[1_000_001:2_500_001]
    with pytest.raises(OSError, match=r"before the beginning|Invalid argument"):
        partial.seek(-1)


def test_small_reads_are_kept(server: FileServer) -> None:
    server.add("/file", CONTENT)
    with WebFile(hasty(), f"{server.url}/file") as file:
        for at in (0, 10, 60_000, 100, 0):
            file.seek(at)
            assert file.read(4) == CONTENT[at : at + 4]
    assert len(server.asked) == 1


def test_reading_on_past_the_cache(server: FileServer) -> None:
    content = CONTENT * 3
    server.add("/file", content)
    with WebFile(hasty(), f"{server.url}/file") as file:
        assert file.read() == content
        file.seek(0)
        assert file.read(10) == content[:10]


def test_a_server_without_ranges_says_so(server: FileServer) -> None:
    server.add("/file", CONTENT, ranges=False)
    with pytest.raises(NoRangesError, match="does not send parts"):
        WebFile(hasty(), f"{server.url}/file")


def test_a_file_that_changes_while_it_is_read(server: FileServer) -> None:
    served = server.add("/file", CONTENT)
    with WebFile(hasty(), f"{server.url}/file") as file:
        served.etag = '"edition-2"'
        with pytest.raises(SourceError, match="changed while it was read; start again"):
            at(file, 1_000_000, 10)


@pytest.mark.parametrize("other", [{"ETag": '"edition-2"'}, {"Content-Range": "bytes 65536-131071/131073"}])
def test_a_server_that_sends_parts_of_two_editions(other: dict[str, str]) -> None:
    """It ignores If-Range."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        first = int(request.headers["Range"].removeprefix("bytes=").partition("-")[0])
        headers = {"ETag": '"edition-1"', "Content-Range": f"bytes {first}-{first + 65535}/131072"}
        return httpx2.Response(206, headers=headers | (other if first else {}), content=iter([bytes(65536)]))

    with (
        WebFile(hasty(httpx2.MockTransport(answer)), "http://x/file") as file,
        pytest.raises(SourceError, match="changed while it was read; start again"),
    ):
        at(file, 65536, 10)


def test_parts_of_no_edition_are_not_put_together(server: FileServer) -> None:
    server.add("/file", CONTENT, etag="")
    with pytest.raises(NoRangesError, match="does not tell which edition"):
        WebFile(hasty(), f"{server.url}/file")


def test_a_fault_of_the_disk_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Getting the file again would not help."""

    class Failing(io.FileIO):
        def readinto(self, buffer: object, /) -> int:
            raise OSError(errno.EIO, "Input/output error")

    (tmp_path / "a.zip").write_bytes(archive())
    monkeypatch.setattr(io, "FileIO", Failing)
    for each in (Offer(tmp_path / "a.zip"), Offer(tmp_path / "a.zip", member="x")):
        with pytest.raises(SourceError, match=r"a\.zip cannot be read: Input/output error$"):
            Sources(Progress(None)).bring(each, tmp_path / "part", {}, "x")


def test_a_cut_range_is_gone_on_with_and_a_dead_one_given_up(server: FileServer) -> None:
    served = server.add("/file", CONTENT)
    with WebFile(hasty(), f"{server.url}/file") as file:
        served.cuts = [100_000, 1]
        assert at(file, 0, len(CONTENT)) == CONTENT
        served.cuts = [0] * 9
        with pytest.raises(CutError, match="cut the connection; try again later"):
            at(file, 0, 10)


def test_the_first_answer_is_waited_for(server: FileServer) -> None:
    server.add("/file", CONTENT, statuses=[503, 503])
    WebFile(hasty(), f"{server.url}/file").close()


def test_a_file_on_the_disk_that_is_not_there(tmp_path: Path) -> None:
    offer = Offer(tmp_path / "nothing")
    for each in (offer, replace(offer, member="x"), replace(offer, plan=CheckpointCut((), {}))):
        with pytest.raises(SourceError, match="cannot be read: No such file"):
            Sources(Progress(None)).bring(each, tmp_path / "part", {}, "x")


def test_a_file_on_the_disk_that_is_cut_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as file:
        path.write_bytes(CONTENT[:1000])
        with pytest.raises(SourceError, match=r"ends 500 bytes too early; get it again"):
            at(file, 500, 1000)


# ----------------------------------------------------------------------- zips


def archive(packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", packing, compresslevel=1) as opened:
        opened.writestr("deep/er/large.bin", CONTENT[:1_500_000])
        opened.writestr("deep/wanted.onnx", CONTENT[:100_000] + bytes(2_000_000))
        opened.writestr("other.bin", CONTENT[1_500_000:])
    return out.getvalue()


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_a_member_is_found_by_its_base_name_and_read_alone(server: FileServer, packing: int) -> None:
    content = archive(packing)
    server.add("/a.zip", content)
    with WebFile(hasty(), f"{server.url}/a.zip") as file:
        opened = open_archive(file)
        info = find(opened, "wanted.onnx")
        assert b"".join(unpacked(file, "wanted.onnx")) == CONTENT[:100_000] + bytes(2_000_000)
    assert server.total < info.compress_size + 300_000 < len(content)


def test_unpacked_pieces_are_bounded(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("bomb", bytes(8_000_000))
    (tmp_path / "a.zip").write_bytes(out.getvalue())
    with (tmp_path / "a.zip").open("rb") as file:
        sizes = [len(piece) for piece in unpacked(file, "bomb")]
    assert sum(sizes) == 8_000_000
    assert max(sizes) <= 1 << 20


def test_a_member_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(archive())
    with (tmp_path / "a.zip").open("rb") as file, pytest.raises(SourceError, match=r"has no x\.onnx, it holds deep/er"):
        unpacked(file, "x.onnx")


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_damage_inside_a_member(tmp_path: Path, packing: int) -> None:
    content = bytearray(archive(packing))
    content[200_000] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(content)
    with (
        (tmp_path / "a.zip").open("rb") as file,
        pytest.raises(SourceError, match=r"is damaged .*get the archive again"),
    ):
        unpacked(file, "large.bin")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and so on"])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with (
        (tmp_path / "a.zip").open("rb") as file,
        pytest.raises(SourceError, match="damaged or not a zip; get it again"),
    ):
        unpacked(file, "wanted.onnx")


def test_a_directory_that_points_elsewhere(tmp_path: Path) -> None:
    content = archive()
    (tmp_path / "a.zip").write_bytes(b"PL" + content[2:])
    with (
        (tmp_path / "a.zip").open("rb") as file,
        pytest.raises(SourceError, match=r"directory is wrong about deep/er/large"),
    ):
        unpacked(file, "large.bin")


@pytest.mark.parametrize("flag", [0x20, 0x40])
def test_patches_and_strong_encryption(tmp_path: Path, flag: int) -> None:
    content = bytearray(archive())
    entry = content.index(b"PK\x01\x02")  # the first of the directory
    content[entry + 8] |= flag
    (tmp_path / "a.zip").write_bytes(content)
    with (tmp_path / "a.zip").open("rb") as file, pytest.raises(SourceError, match="encrypted or packed in a way"):
        unpacked(file, "large.bin")


def test_exotic_packing(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_BZIP2) as made:
        made.writestr("large.bin", b"x" * 1000)
    (tmp_path / "a.zip").write_bytes(out.getvalue())
    with (tmp_path / "a.zip").open("rb") as file, pytest.raises(SourceError, match="encrypted or packed in a way"):
        unpacked(file, "large.bin")
