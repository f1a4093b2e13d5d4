"""Which files the store accepts, and what it remembers of them."""

import errno
import gzip
import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import store_files
from file_server import FileServer
from hef_container import container, message
from store_files import TEXT, file, hef_file, network, npz

from ml_target.catalogue.types import Chip, ZooFile
from ml_target.errors import FetchError, ModelError
from ml_target.store import Store
from ml_target.transfer import content

server = store_files.server
folder = store_files.folder
sealed = store_files.sealed


def test_check_returns_the_hash_and_reads_a_file_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "words.txt"
    path.write_bytes(TEXT)
    read: list[Path] = []
    plain = content.sha256_of
    monkeypatch.setattr(content, "sha256_of", lambda path, *name: read.append(path) or plain(path, *name))  # type: ignore[func-returns-value]
    for entry in (file(), file(content=None)):
        for _ in range(3):
            assert Store(folder).check(entry, path) == hashlib.sha256(TEXT).hexdigest()
    assert read == [path]
    Store(folder).check(file(), path, fresh=True)
    os.utime(path, ns=(1, 1))
    Store(folder).check(file(), path)
    assert len(read) == 3


def test_not_the_published_file(folder: Path) -> None:
    path = folder / "words.txt"
    path.write_bytes(TEXT + b"more\n")
    wanted, got = (hashlib.sha256(content).hexdigest() for content in (TEXT, TEXT + b"more\n"))
    words = (
        rf"is not the published words\.txt: its SHA-256 is {got}, not {wanted} "
        r"\(28 bytes instead of 23\)\. Fetch it again"
    )
    with pytest.raises(ModelError, match=words):
        Store(folder).check(file(), path)
    Store(folder).check(file(content=None), path)
    with pytest.raises(ModelError, match="is not the published"):
        Store(folder).check(file(), path)


def test_a_change_after_first_use_is_refused_with_both_hashes(folder: Path) -> None:
    path = folder / "words.txt"
    path.write_bytes(TEXT)
    entry = file(content=None)
    first = Store(folder).check(entry, path)
    path.write_bytes(b"other\n")
    second = hashlib.sha256(b"other\n").hexdigest()
    words = (
        rf"words\.txt is not the file that was first used .* {second}, on record is {first}\. "
        r".*delete its entry in .*checksums\.json\. Fetch it again"
    )
    for _ in range(2):
        with pytest.raises(ModelError, match=words):
            Store(folder).check(entry, path)
    (folder / "checksums.json").unlink()
    assert Store(folder).check(entry, path) == second


def test_a_fetched_file_that_is_not_the_one_on_record(folder: Path, server: FileServer) -> None:
    served = server.add("/a/words.txt", TEXT)
    entry = file(ZooFile("a/words.txt"), content=None)
    Store(folder).fetch(entry).unlink()
    served.content = b"changed upstream\n"
    with pytest.raises(FetchError, match="is not the file that was first used"):
        Store(folder).fetch(entry)


def test_a_record_that_cannot_be_read(folder: Path) -> None:
    (folder / "words.txt").write_bytes(TEXT)
    for text in ("{", "[]", '{"words.txt": {}}'):
        (folder / "checksums.json").write_text(text)
        with pytest.raises(ModelError, match=r"checksums\.json cannot be read .*restore it, or delete it"):
            Store(folder).check(file(), folder / "words.txt")


def test_the_record_of_a_sealed_folder_lies_in_the_spare_one(folder: Path, tmp_path: Path) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    path = folder / "words.txt"
    path.write_bytes(TEXT)
    folder.chmod(0o555)
    entry = file(content=None)
    try:
        store = Store(folder, spare=spare)
        store.check(entry, path)
        assert list(json.loads((spare / "checksums.json").read_text())) == [str(path)]
        assert not (folder / "checksums.json").exists()
        folder.chmod(0o755)
        path.write_bytes(b"other\n")
        folder.chmod(0o555)
        with pytest.raises(ModelError, match=rf"delete its entry in {spare}/checksums\.json"):
            store.check(entry, path)
    finally:
        folder.chmod(0o755)


def test_without_a_place_for_the_record_files_are_still_checked(sealed: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As in a container, whose models are in the image. That is told once, not for every file."""
    caplog.set_level(logging.INFO)
    sealed.chmod(0o755)
    (sealed / "words.txt").write_bytes(TEXT)
    sealed.chmod(0o555)
    store = Store(sealed)
    for _ in range(2):
        assert store.check(file(), sealed / "words.txt") == hashlib.sha256(TEXT).hexdigest()
    assert caplog.text.count("no folder to record checksums in") == 1


def test_a_record_that_cannot_be_written_is_announced(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "words.txt").write_bytes(TEXT)

    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    Store(folder).check(file(), folder / "words.txt")
    assert "checksums.json cannot be written" in caplog.text


def test_a_file_that_is_gone(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot be read: No such file"):
        Store(folder).check(file(content=None), folder / "words.txt")
    with pytest.raises(ModelError, match=r"cannot be read: No such file"):
        Store(folder).check(hef_file("hailo8"), folder / "net.hef")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "is empty"),
        ("a.txt", b"\xff\xfe\x00", r"damaged or not a \.txt file"),
        ("a.txt", b"<!doctype html>", "holds a web page instead of the file"),
        ("a.onnx", b"version https://git-lfs.github.com/spec/v1\noid", "holds a Git LFS pointer"),
        ("a.onnx", b"nonsense", r"damaged or not a \.onnx file: "),
        ("a.onnx", network()[:-20], r"damaged or not a \.onnx file: a field reaches beyond the message"),
        ("a.onnx", b"\x08\x07", r"damaged or not a \.onnx file: it holds no graph"),
        ("a.onnx", network().replace(b"Relu", b"Rexu"), r"damaged or not a \.onnx file: "),
        ("a.json", b"{", r"damaged or not a \.json file"),
        ("a.json", b"[]", r"damaged or not a \.json file: it holds no JSON object"),
        ("a.txt.gz", gzip.compress(TEXT * 100, mtime=0)[:-9], r"damaged or not a \.gz file: it does not unpack"),
        ("a.txt.gz", b"plain", r"damaged or not a \.gz file: it does not unpack"),
        ("a.npz", b"plain", r"damaged or not a \.npz file: it is no archive, or was cut short"),
        ("a.npz", npz(x=np.ones(4, np.float32))[:-10], r"damaged or not a \.npz file"),
        ("a.model", b"plain", r"damaged or not a \.model file"),
        ("a.hef", b"plain bytes", "is not a HEF"),
        ("a.hef", container(2)[:-1], "is cut off"),
    ],
)
def test_damage_in_words_of_its_kind(folder: Path, name: str, content: bytes, words: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=words):
        Store(folder).check(file(name=name, content=None), folder / name)
    assert not (folder / "checksums.json").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", TEXT),
        ("a.onnx", network()),
        ("a.json", b'{"a": 1}'),
        ("a.txt.gz", gzip.compress(TEXT, mtime=0)),
        ("a.npz", npz(x=np.ones(4, np.float32))),
        ("a.hef", container(3)),
        ("a.other", b"\0"),
    ],
)
def test_sound_files(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    sha256 = Store(folder).check(file(name=name, content=None), folder / name)
    assert sha256 == hashlib.sha256(content).hexdigest()


def test_onnx_is_looked_into_without_the_runtime(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (folder / "a.onnx").write_bytes(network())
    assert Store(folder).check(file(name="a.onnx", content=None), folder / "a.onnx")
    (folder / "a.onnx").write_bytes(network()[:-1])
    with pytest.raises(ModelError, match="damaged or not"):
        Store(folder).check(file(name="a.onnx", content=None), folder / "a.onnx")


def test_a_real_onnx_file_under_its_alias(folder: Path, face_models: Path) -> None:
    from ml_target.catalogue.files import SCRFD_2_5G_ONNX

    shutil.copy(face_models / "scrfd_2.5g_bnkps.onnx", folder)
    store = Store(folder)
    path = store.find(SCRFD_2_5G_ONNX)
    assert path == folder / "scrfd_2.5g_bnkps.onnx"
    assert store.check(SCRFD_2_5G_ONNX, path).startswith("bc24bb349491481c")
    path.chmod(0o644)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match=r"scrfd_2\.5g_bnkps\.onnx is damaged"):
        store.check(SCRFD_2_5G_ONNX, path)


# ------------------------------------------------------------------------ HEFs


def test_a_hef_of_another_release_is_accepted_and_announced(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "net.hef").write_bytes(container(2))
    Store(folder).check(hef_file("hailo8"), folder / "net.hef")
    assert "of another release than the catalogue's" in caplog.text


@pytest.mark.parametrize(
    ("architecture", "chip", "accepted"),
    [(1, "hailo8", True), (3, "hailo8", True), (3, "hailo8l", True), (1, "hailo8l", False), (103, "hailo8", False)],
)
def test_hefs_are_accepted_by_chip(folder: Path, architecture: int, chip: Chip, accepted: bool) -> None:
    path = folder / "net.hef"
    path.write_bytes(container(2, message(architecture)))
    for _ in range(2):
        if accepted:
            Store(folder).check(hef_file(chip), path)
        else:
            with pytest.raises(ModelError, match="cannot run it"):
                Store(folder).check(hef_file(chip), path)


def test_the_file_on_record_still_has_to_fit_the_chip(folder: Path) -> None:
    path = folder / "net.hef"
    path.write_bytes(container(2, message(1)))
    Store(folder).check(hef_file("hailo8"), path)
    with pytest.raises(ModelError, match="a Hailo-8L cannot run it"):
        Store(folder).check(hef_file("hailo8l"), path)


def test_changing_the_card_does_not_trip_over_the_record(folder: Path, server: FileServer) -> None:
    server.add("/8/net.hef", container(2, message(1)))
    server.add("/8l/net.hef", container(2, message(3)))
    store = Store(folder)
    store.fetch(hef_file("hailo8", ZooFile("8/net.hef"))).unlink()
    path = store.fetch(hef_file("hailo8l", ZooFile("8l/net.hef")))
    store.check(hef_file("hailo8l"), path)


def test_a_mirror_with_the_other_chips_file_is_passed_over(folder: Path, tmp_path: Path, server: FileServer) -> None:
    (tmp_path / "net.hef").write_bytes(container(2, message(103)))
    (tmp_path / "hailo8").mkdir()
    (tmp_path / "hailo8" / "net.hef").write_bytes(container(2, message(1)))
    store = Store(folder, mirror=str(tmp_path))
    path = store.fetch(hef_file("hailo8", ZooFile("hailo8/net.hef")))
    assert path.read_bytes() == container(2, message(1))


def test_a_real_hef_of_another_family(folder: Path, face_models: Path, server: FileServer) -> None:
    server.add("/x/net.hef", (face_models / "scrfd_2.5g.hailo15h.hef").read_bytes())
    with pytest.raises(FetchError, match="was compiled for Hailo-10H/15H, a Hailo-8 cannot run it"):
        Store(folder).fetch(hef_file("hailo8", ZooFile("x/net.hef")))


def test_a_damaged_hef_is_not_taken(folder: Path, server: FileServer) -> None:
    content = bytearray(container(2))
    content[-1] ^= 1
    server.add("/x/net.hef", bytes(content))
    with pytest.raises(FetchError, match=r"net\.hef is damaged: its XXH3 is"):
        Store(folder).fetch(hef_file("hailo8", ZooFile("x/net.hef")))
    assert Store(folder).find(hef_file("hailo8")) is None


def test_the_made_up_network_is_valid() -> None:
    onnx.checker.check_model(onnx.load_from_string(network()))
