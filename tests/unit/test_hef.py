"""HEF headers and checksums: real files, and files made up byte by byte for every container version."""

import struct
from pathlib import Path

import pytest
from hef_container import container, message

from ml_target.errors import ModelError
from ml_target.hef import header as hef
from ml_target.hef.protobuf import varint, walk


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "network.hef"


@pytest.mark.parametrize(("version", "header_bytes"), [(0, 32), (1, 28), (2, 44), (3, 56)])
def test_every_container_version_is_read_and_verified(written: Path, version: int, header_bytes: int) -> None:
    written.write_bytes(container(version))
    header = hef.verify(written)
    assert (header.container, header.architecture, header.compiler) == (version, 1, "3.33.0")
    assert (header.message_start, header.message_size) == (header_bytes, len(message()))
    assert header.chip == "Hailo-8"


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_one_flipped_bit_is_a_checksum_mismatch(written: Path, version: int) -> None:
    content = bytearray(container(version))
    content[-3] ^= 1
    written.write_bytes(content)
    hef.read_header(written)
    name = {0: "MD5", 1: "CRC-32", 2: "XXH3", 3: "XXH3"}[version]
    with pytest.raises(ModelError, match=rf"is damaged: its {name} is .*Fetch it again"):
        hef.verify(written)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_length_rule(written: Path, version: int) -> None:
    content = container(version)
    written.write_bytes(content[:-1])
    with pytest.raises(ModelError, match=rf"is cut off: {len(content) - 1:,} bytes instead of {len(content):,}.*fetch"):
        hef.read_header(written)
    written.write_bytes(content + b"\0")
    with pytest.raises(ModelError, match=r"is too long: .*Fetch it again"):
        hef.read_header(written)


@pytest.mark.parametrize("content", [b"", b"\x01HE", b"PK\x03\x04" + bytes(60), b"<!doctype html>" + bytes(60)])
def test_what_is_no_hef(written: Path, content: bytes) -> None:
    written.write_bytes(content)
    with pytest.raises(ModelError, match="is not a HEF: it does not begin with 01 48 45 46"):
        hef.read_header(written)


def test_a_container_from_the_future(written: Path) -> None:
    written.write_bytes(struct.pack(">III", hef.MAGIC, 4, 10) + bytes(80))
    with pytest.raises(ModelError, match=r"container version 4; versions 0 to 3 can be read.*newer release"):
        hef.read_header(written)


def test_cut_inside_the_header(written: Path) -> None:
    written.write_bytes(container(3)[:40])
    with pytest.raises(ModelError, match="is cut off: its header is not complete after 40 bytes"):
        hef.read_header(written)


@pytest.mark.parametrize("proto", [b"", b"\x0a\xff\xff\xff\x7f", b"\x12\x01a", b"\x0a\x02\x08\xff", b"\x0b\x00"])
def test_no_readable_message(written: Path, proto: bytes) -> None:
    written.write_bytes(container(1, proto))
    with pytest.raises(ModelError, match="without a readable header"):
        hef.read_header(written)


def test_a_missing_file(written: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be read: No such file.*Check that it is there"):
        hef.read_header(written)


@pytest.mark.parametrize(
    ("architecture", "on_8", "on_8l"),
    [(0, False, False), (1, True, False), (2, True, False), (3, True, True), (4, False, False), (103, False, False)],
)
def test_which_chip_runs_what(written: Path, architecture: int, on_8: bool, on_8l: bool) -> None:
    written.write_bytes(container(2, message(architecture)))
    header = hef.read_header(written)
    if on_8:
        hef.require_chip(header, "hailo8", written)
    else:
        with pytest.raises(ModelError, match=r"a Hailo-8 cannot run it\. .*--chip hailo8$"):
            hef.require_chip(header, "hailo8", written)
    if on_8l:
        hef.require_chip(header, "hailo8l", written)
    else:
        with pytest.raises(ModelError, match=r"a Hailo-8L cannot run it\. .*--chip hailo8l$"):
            hef.require_chip(header, "hailo8l", written)


def test_an_architecture_nobody_knows_yet(written: Path) -> None:
    written.write_bytes(container(2, message(77)))
    assert hef.read_header(written).chip == "unknown chip no. 77"


@pytest.mark.parametrize(
    ("name", "version", "compiler", "chip"),
    [
        ("arcface_mobilefacenet.hailo8.hef", 2, "3.31.0", "Hailo-8"),
        ("arcface_mobilefacenet.hailo15h.hef", 3, "5.1.0", "Hailo-10H/15H"),
        ("scrfd_2.5g.hailo15h.hef", 3, "5.2.0", "Hailo-10H/15H"),
    ],
)
def test_real_files(face_models: Path, name: str, version: int, compiler: str, chip: str) -> None:
    header = hef.verify(face_models / name)
    assert (header.container, header.compiler, header.chip) == (version, compiler, chip)


def test_real_file_cut_and_flipped(face_models: Path, written: Path) -> None:
    content = bytearray((face_models / "arcface_mobilefacenet.hailo8.hef").read_bytes())
    written.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="is cut off"):
        hef.verify(written)
    content[len(content) // 2] ^= 0x10
    written.write_bytes(content)
    with pytest.raises(ModelError, match="is damaged: its XXH3"):
        hef.verify(written)


def test_real_file_for_another_chip(face_models: Path) -> None:
    path = face_models / "scrfd_2.5g.hailo15h.hef"
    with pytest.raises(ModelError, match="was compiled for Hailo-10H/15H, a Hailo-8 cannot run it"):
        hef.require_chip(hef.read_header(path), "hailo8", path)


def test_walk_reads_every_wire_type() -> None:
    content = b"\x08\x96\x01" + b"\x12\x02ab" + b"\x19" + bytes(8) + b"\x25" + bytes(4)
    assert list(walk(content)) == [(1, 150), (2, b"ab"), (3, bytes(8)), (4, bytes(4))]


@pytest.mark.parametrize("content", [b"\xff", b"\x80" * 11, b""])
def test_an_integer_that_does_not_end(content: bytes) -> None:
    with pytest.raises(ValueError, match="does not end"):
        varint(content, 0)
