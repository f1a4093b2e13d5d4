"""What `hef_inspect` prints for real, made-up and broken files, with and without HailoRT."""

import os
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import hef_builder as build
import pytest
from hef_builder import L

from ml_target.__main__ import main
from ml_target.diagnostics.file_kind import LOOKED_AT, why_no_hef
from ml_target.remedies import command


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return tmp_path / "network.hef"


@pytest.fixture(autouse=True)
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hailo_platform", None)


def test_a_real_file(face_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(face_models / "arcface_mobilefacenet.hailo8.hef")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:7] == [
        "  container  version 2, 3,552,250 bytes",
        "  chip       Hailo-8 (architecture 1)",
        "  compiler   3.31.0",
        "  checksum   XXH3 651b41ff45a7c344 matches",
        "  group      arcface_mobilefacenet, single context",
        "  serves     arcface_mobilefacenet (facial-recognition, recognition)",
    ]
    columns = [line.split() for line in lines[7:10]]
    assert columns[0][:4] == ["stream", "shape", "type", "order"]
    assert columns[1][:8] == ["in", "arcface_mobilefacenet/input_layer1", "112x112x3", "uint8", "NHWC", "1", "0", "0"]
    assert columns[1][-4:] == ["3", "equal", "picture", "model_script_layer_normalization1"]
    assert columns[2][:7] == ["out", "arcface_mobilefacenet/fc1", "512", "uint8", "NC", "0.01673892", "144"]
    assert columns[2][-5:] == ["512", "equal", "embedding", "MatMul_95,", "BatchNormalization_96"]
    assert len({line.index(word) for line, word in zip(lines[7:10], ("type", "uint8", "uint8"), strict=True)}) == 1


def test_a_file_for_another_chip(face_models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(face_models / "scrfd_2.5g.hailo15h.hef")]) == 1
    out = capsys.readouterr().out
    assert "chip       Hailo-10H/15H (architecture 103)" in out
    assert "serves     scrfd_2.5g (facial-recognition, detection)" in out
    assert "conv56        20x20x8    uint8  NHWC   0.02992574" in out
    assert "WRONG      compiled for Hailo-10H/15H: this worker drives Hailo-8 and Hailo-8L, which cannot run it" in out
    roles = [role for role in out.split() if role.startswith(("box_", "score_", "kps_"))]
    assert roles == [f"{kind}_{stride}" for stride in (8, 16, 32) for kind in ("box", "score", "kps")]


# ------------------------------------------------------------ files of other kinds

OTHERS = [
    ("README.md", b"# Words\n\nand more of them, \xc3\xa4\n" * 40, "not a HEF but a text file. Name .hef files."),
    ("empty.hef", b"", "not a HEF but empty. The transfer that should have filled it was cut off: download it again"),
    ("page.hef", b"\n <!DOCTYPE html><html>log in", "not a HEF but a web page. What was downloaded is a page and not"),
    ("big.hef", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer, .* git lfs pull"),
    ("net.onnx", b"\x08\x07\x12\x07pytorch", "an ONNX network. It runs on the processor as it is"),
    ("net.hef", b"\x08\x07\x12\x07pytorch", "an ONNX network. It runs on the processor as it is"),
    ("all.zip", b"PK\3\4rest", "a zip archive. Unpack it and name the .hef files that were inside"),
    ("all.gz", b"\x1f\x8brest", r"a compressed file \(gzip\). Unpack it"),
    (
        "net.har",
        b"\0" * 257 + b"ustar  \0",
        "a tar archive, as a Hailo .har is. If it is a .har, its network is not com",
    ),
    ("photo.jpg", b"\xff\xd8\xff\xe0", r"a picture \(JPEG\). Name .hef files"),
    ("shot.png", b"\x89PNG\r\n", r"a picture \(PNG\). Name .hef files"),
    ("noise.hef", bytes(range(7, 200)) * 4, "something else: it does not begin with 01 48 45 46. Name .hef files"),
]


@pytest.mark.parametrize(("name", "content", "words"), OTHERS)
def test_what_it_is_instead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert main(["inspect", str(path)]) == 1
    out = capsys.readouterr().out
    said = words if words.startswith(("no ", "not ")) else f"not a HEF but {words}"
    assert re.search(f"WRONG      .*{re.escape(name)} is {said}", out)
    assert "elete" not in out, "it is its owner's"


def test_one_of_ours_is_to_be_fetched_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scrfd_2.5g.hef"
    path.write_bytes(b"<html>")
    assert main(["inspect", str(path)]) == 1
    assert f"not a HEF but a web page. Fetch it again: {command('models fetch')}." in (capsys.readouterr().out)


def test_a_damaged_file_is_its_owners_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fetching the worker's own files would not mend it."""
    whole = build.mobilefacenet()
    for name, mended in (
        ("mine.hef", "Download it again from where it came."),
        ("scrfd_2.5g.hef", f"Fetch it again: {command()} models fetch"),
    ):
        path = tmp_path / name
        for damaged in (whole[:-1], whole[:20], whole[:-1] + b"\x01"):
            path.write_bytes(damaged)
            assert main(["inspect", str(path)]) == 1
            assert mended in capsys.readouterr().out


def test_what_cannot_be_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "shut.hef").write_bytes(b"")
    opened = Path.open

    def shut(path: Path, *how: Any) -> Any:
        if path.name == "shut.hef":
            raise PermissionError(13, "Permission denied")
        return opened(path, *how)

    monkeypatch.setattr(Path, "open", shut)
    names = [tmp_path, tmp_path / "none.hef", tmp_path / "pipe", tmp_path / "shut.hef", "x" * 300]
    assert main(["inspect", *map(str, names)]) == 1
    out = capsys.readouterr().out
    assert f"{tmp_path} is a folder. Name the files in it: {tmp_path}/*.hef." in out
    assert f"none.hef is not there. Look at the name: ls {tmp_path}." in out
    assert "pipe is no ordinary file. Name .hef files." in out
    assert f"shut.hef cannot be read: Permission denied. Give this user the right to: chmod a+r {tmp_path}/shut" in out
    assert "cannot be read: File name too long" in out


def test_a_text_whose_last_letter_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_bytes("ä".encode() * LOOKED_AT)
    assert why_no_hef(path) == f"{path} is not a HEF but a text file. Name .hef files."
    path.write_bytes(b"a" + "ä".encode() * LOOKED_AT)
    assert why_no_hef(path) == f"{path} is not a HEF but a text file. Name .hef files."
    path.write_bytes(b"a\0b")
    assert "something else" in why_no_hef(path)


# ---------------------------------------------------------------------- the rest


def test_it_says_what_needs_the_library(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written.write_bytes(build.mobilefacenet())
    assert main(["inspect", str(written)]) == 0
    out = capsys.readouterr().out
    assert "library    not shown, it needs HailoRT's Python package: how the library reads the file" in out


def test_several_files_and_the_worst_decides(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written.write_bytes(build.mobilefacenet())
    bad = written.with_name("page.hef")
    bad.write_bytes(b"<!doctype html>" + bytes(60))
    missing = written.with_name("missing.hef")
    assert main(["inspect", str(written), str(bad), str(missing)]) == 1
    out = capsys.readouterr().out
    assert f"{bad}\n  WRONG      {bad} is not a HEF but a web page" in out
    assert f"{missing}\n  WRONG      {missing} is not there. Look at the name" in out


def test_a_damaged_file_still_shows_what_it_holds(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(build.mobilefacenet())
    content[-1] ^= 1
    written.write_bytes(content)
    assert main(["inspect", str(written)]) == 1
    out = capsys.readouterr().out
    assert "checksum   XXH3 does NOT match" in out
    assert "out  arcface_mobilefacenet/fc1" in out
    assert "is damaged: its XXH3 is" in out


def test_a_description_that_is_not_understood(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written.write_bytes(build.file(build.message(b"\xff")))
    assert main(["inspect", str(written)]) == 1
    assert "description is not understood" in capsys.readouterr().out


def test_contexts_groups_and_scales(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = build.group(
        "a", build.context(build.picture("a", 8, 8)), build.context(L("a/x", (2, 2, 3), padded=(2, 2, 8)))
    )
    other = build.group("b", build.context(L("b/x", (1, 1, 4), pairs=((0, 1), (0, 2)))))
    written.write_bytes(build.file(build.message(two, other, extensions=(25,))))
    assert main(["inspect", str(written)]) == 1
    out = capsys.readouterr().out
    assert "group      a, 2 contexts, loaded for every burst" in out
    assert "2x2x3 (chip 2x2x8)" in out
    assert "serves     no network of the catalogue" in out
    assert "DIFFER" in out
    assert "scales     each output channel has its own pair" in out
    assert "it holds 2 network groups; this worker serves files with one" in out


def test_channels_that_are_scaled_each_by_its_own(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = tuple((144.0, 0.01 + channel / 1e5) for channel in range(512))
    layers = (build.picture("arcface_r50", 112, 112), L("arcface_r50/fc1", (1, 1, 512), format=2, pairs=pairs))
    written.write_bytes(build.simple("arcface_r50", *layers, extensions=(25,)))
    assert main(["inspect", str(written)]) == 0
    out = capsys.readouterr().out
    assert "512, each its own" in out
    assert "serves     arcface_r50 (" in out


def test_a_stream_that_is_transposed(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layers = (build.picture("arcface_r50", 112, 112), L("arcface_r50/fc1", (1, 1, 512), transposed=True))
    written.write_bytes(build.simple("arcface_r50", *layers))
    main(["inspect", str(written)])
    out = capsys.readouterr().out
    assert "NHWC TRANSPOSED" in out
    assert "serves     no network of the catalogue: it has inputs" in out
    assert "fc1 is transposed: HailoRT hands it out with height and width exchanged" in out


def test_a_network_of_the_right_shapes_and_another_name(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written.write_bytes(build.simple("mine", build.picture("mine", 112, 112), L("mine/v", (1, 1, 512), format=2)))
    assert main(["inspect", str(written)]) == 0
    assert "serves     by its shapes arcface_r50 or arcface_mobilefacenet" in capsys.readouterr().out


def test_a_network_of_the_right_name_that_does_not_fit(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written.write_bytes(build.mobilefacenet(scale=0.0))
    assert main(["inspect", str(written)]) == 0
    out = capsys.readouterr().out
    assert "serves     no network of the catalogue: arcface_mobilefacenet/fc1 has an impossible quantisation" in out
    assert "IMPOSSIBLE" in out


def test_a_text_tower(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "siglip_b_16_text_encoder"
    taken, given = L(f"{name}/in", (8, 8, 768), output=False, value_bytes=2), L(f"{name}/x", (1, 1, 768), value_bytes=2)
    written.write_bytes(build.simple(name, taken, given))
    assert main(["inspect", str(written)]) == 0
    out = capsys.readouterr().out
    assert "token embeddings" in out
    assert "8x8x768  uint16" in out


# --------------------------------------------------------------- the library


class FakeHef:
    def __init__(self, path: str) -> None:
        if path.endswith("bad.hef"):
            raise RuntimeError("libhailort failed with error: 26 (HAILO_INVALID_HEF)")

    def get_network_groups_infos(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="arcface_mobilefacenet", is_multi_context=False)]

    def get_all_vstream_infos(self, name: str) -> list[str]:
        return [name] * 2

    def bottleneck_fps(self, name: str) -> float:
        return 5191.06


def library(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("hailo_platform")
    module.__dict__.update(HEF=FakeHef, __version__="4.23.0")
    monkeypatch.setitem(sys.modules, "hailo_platform", module)


def test_what_the_library_adds(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library(monkeypatch)
    written.write_bytes(build.mobilefacenet())
    assert main(["inspect", str(written)]) == 0
    out = capsys.readouterr().out
    assert "library    HailoRT 4.23.0 reads arcface_mobilefacenet, single context, 2 streams" in out
    assert "speed      5191 frames a second, the compiler's estimate" in out


def test_a_library_that_does_not_take_the_file(
    written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library(monkeypatch)
    bad = written.with_name("bad.hef")
    bad.write_bytes(build.mobilefacenet())
    main(["inspect", str(bad)])
    assert "library    HailoRT 4.23.0 does not take it: 26 HAILO_INVALID_HEF: a model file" in capsys.readouterr().out


def test_a_library_that_cannot_be_imported(
    written: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "hailo_platform")
    (tmp_path / "hailo_platform.py").write_text("raise ImportError('libhailort.so.4.23.0: cannot open')")
    monkeypatch.syspath_prepend(str(tmp_path))
    written.write_bytes(build.mobilefacenet())
    assert main(["inspect", str(written)]) == 0
    assert "(it is installed, but fails: libhailort.so.4.23.0: cannot open)" in capsys.readouterr().out
