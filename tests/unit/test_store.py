"""The store: what it finds, where it fetches from and to, what it accepts, what it remembers."""

import errno
import gzip
import hashlib
import io
import json
import logging
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import file_server
import numpy as np
import onnx
import pytest
from checkpoint_files import safetensors
from file_server import FileServer
from hef_container import container, message
from onnx import TensorProto, helper

from ml_target.catalogue.types import CheckpointCut, Chip, HubFile, ModelFile, Source, ZooFile, ZooZip
from ml_target.errors import FetchError, ModelError, SettingsError
from ml_target.remedies import command
from ml_target.store import Store, load_text_weights, offers, verify
from ml_target.store.folder import alone
from ml_target.system.folders import writable
from ml_target.tensors import Array

TEXT = b"first line\nsecond line\n"
RNG = np.random.default_rng(7)
TOKENS = RNG.standard_normal((300, 4)).astype(np.float32)
NORM = RNG.standard_normal((4,)).astype(np.float32)
CHECKPOINT = safetensors({"t": ("F32", TOKENS), "n": ("F32", NORM)})


def file(*sources: Source, name: str = "words.txt", content: bytes | None = TEXT, **more: object) -> ModelFile:
    """A catalogue entry; with a checksum when `content` is given."""
    known = {} if content is None else {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return ModelFile(name=name, sources=sources, licence="MIT", **{**known, **more})  # type: ignore[arg-type]


def hef_file(chip: Chip, *sources: Source) -> ModelFile:
    return file(*sources, name="net.hef", content=None, chip=chip, size=4711)


def network() -> bytes:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def npz(**arrays: Array) -> bytes:
    out = io.BytesIO()
    cast(Any, np.savez)(out, **arrays)
    return out.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server that also stands for the Model Zoo."""
    with file_server.serving() as state:
        monkeypatch.setattr(offers, "ZOO", state.url)
        yield state


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.store.patience.time.sleep", lambda seconds: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "models"
    made.mkdir()
    return made


@pytest.fixture
def sealed(folder: Path) -> Iterator[Path]:
    """The folder without any write permission."""
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)


# ------------------------------------------------------------------------ find


def test_find_by_name_then_alias_in_folder_then_spare(folder: Path, tmp_path: Path) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    entry = file(aliases=("upstream.txt", "older.txt"))
    store = Store(folder, spare=spare)
    assert store.find(entry) is None
    for place in (spare / "older.txt", spare / "words.txt", folder / "upstream.txt", folder / "words.txt"):
        place.write_bytes(b"whatever: find reads nothing")
        assert store.find(entry) == place


def test_a_file_from_the_spare_folder_is_told_once(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "words.txt").write_bytes(TEXT)
    store = Store(folder, spare=tmp_path)
    for _ in range(3):
        assert store.sound(file()) == tmp_path / "words.txt"
    told = f"words.txt is not in MODELS_DIR={folder}: the one in {tmp_path} is taken."
    assert [record.getMessage() for record in caplog.records] == [told]
    assert store.fallback() == "", "the folder itself is as it should be"


def test_a_folder_that_was_named_and_is_not_used_is_told_at_once(tmp_path: Path, sealed: Path) -> None:
    away, spare = tmp_path / "away", tmp_path / "spare"
    assert Store(away, spare=spare).fallback() == (
        f"MODELS_DIR={away} is not there: model files are taken from {spare}, and what is fetched goes to {away}."
    )
    assert Store(sealed / "away", spare=spare).fallback().endswith(f"and what is fetched goes to {spare}.")
    assert Store(sealed, spare=spare).fallback() == (
        f"MODELS_DIR={sealed} cannot be written: what is fetched goes to {spare}."
    )
    assert Store(spare, spare=spare).fallback() == "", "no folder was named"
    assert Store(away).fallback() == ""


def test_find_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert Store(tmp_path / "no" / "where").find(file()) is None


def test_a_folder_of_that_name_is_no_file(folder: Path) -> None:
    (folder / "words.txt").mkdir()
    assert Store(folder).find(file()) is None


def test_remedy_says_what_to_do(folder: Path) -> None:
    text = str(Store(folder).missing(file(ZooFile("a/words.txt"), aliases=("upstream.txt",))))
    assert text == (
        f"words.txt is not there: run {command('models fetch')}, put words.txt or upstream.txt into "
        f"{folder}, or point MODELS_MIRROR at a folder or address that has it."
    )
    assert "nobody publishes it" in str(Store(folder).missing(file()))


# ------------------------------------------------------------ where it writes


def test_the_folder_is_written_and_made(tmp_path: Path, server: FileServer) -> None:
    server.add("/a/words.txt", TEXT)
    store = Store(tmp_path / "new" / "models", spare=tmp_path / "spare")
    assert store.target == tmp_path / "new" / "models"
    assert store.fetch(file(ZooFile("a/words.txt"))).read_bytes() == TEXT
    assert sorted(p.name for p in store.target.iterdir()) == [".fetching", "checksums.json", "words.txt"]


def test_a_folder_without_write_permission_is_left_alone_even_by_root(
    sealed: Path, tmp_path: Path, server: FileServer
) -> None:
    server.add("/a/words.txt", TEXT)
    spare = tmp_path / "spare"
    store = Store(sealed, spare=spare)
    assert store.target == spare
    path = store.fetch(file(ZooFile("a/words.txt")))
    assert path == spare / "words.txt"
    assert store.check(file(), path)
    assert list(sealed.iterdir()) == []


def test_a_read_only_file_system(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)
    assert Store(folder, spare=tmp_path / "spare").target == tmp_path / "spare"


def test_nowhere_to_write(sealed: Path, server: FileServer) -> None:
    server.add("/a/words.txt", TEXT)
    for store in (Store(sealed), Store(sealed, spare=sealed / "inside"), Store(sealed, spare=sealed)):
        with pytest.raises(
            FetchError, match=r"words\.txt cannot be fetched: .* cannot be written.*chown.*or put words"
        ):
            store.fetch(file(ZooFile("a/words.txt")))
    assert server.asked == []


def test_writable_looks_at_the_nearest_folder_there_is(sealed: Path, tmp_path: Path) -> None:
    assert writable(tmp_path / "a" / "b")
    assert not writable(sealed / "a" / "b")
    (tmp_path / "plain").write_text("")
    assert not writable(tmp_path / "plain")


def test_one_process_fetches_at_a_time(folder: Path, server: FileServer) -> None:
    server.add("/a/words.txt", TEXT)
    entry = file(ZooFile("a/words.txt"))
    got: list[Path] = []
    with alone(folder):
        second = threading.Thread(target=lambda: got.append(Store(folder).fetch(entry)))
        second.start()
        second.join(0.2)
        assert second.is_alive()
        (folder / "words.txt").write_bytes(TEXT)
    second.join(10)
    assert got == [folder / "words.txt"]
    assert server.asked == [], "what the first one brought is not brought again"


def test_a_disk_that_fills_up_ends_all_attempts(
    folder: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("/a/words.txt", TEXT)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FetchError, match=r"words\.txt could not be fetched: no space left in .*Free some"):
        Store(folder).fetch(file(ZooFile("a/words.txt"), ZooFile("b/words.txt")))
    assert len(server.asked) == 1


# ----------------------------------------------------------------------- fetch


def test_what_is_there_is_not_fetched(folder: Path, server: FileServer) -> None:
    (folder / "words.txt").write_bytes(TEXT)
    assert Store(folder).fetch(file(ZooFile("a/words.txt"))) == folder / "words.txt"
    assert server.asked == []


def test_sources_in_turn_and_every_attempt_is_told(folder: Path, server: FileServer) -> None:
    server.add("/bad/words.txt", b"something else")
    server.add("/page/words.txt", b"<html>log in</html>")
    entry = file(ZooFile("none/words.txt"), ZooFile("bad/words.txt"), ZooFile("page/words.txt"))
    with pytest.raises(FetchError) as caught:
        Store(folder).fetch(entry)
    lines = str(caught.value).splitlines()
    assert lines[0] == "words.txt could not be fetched: "
    assert "/none/words.txt: 127.0.0.1 does not have it (HTTP 404)" in lines[1]
    assert "/bad/words.txt: what came from there is refused: words.txt is not the published words.txt" in lines[2]
    assert ".part" not in lines[2]
    assert "etch it again" not in lines[2]
    assert "/page/words.txt: 127.0.0.1 gives a web page instead of the file" in lines[3]
    assert lines[4] == (
        f"Otherwise, put words.txt into {folder}, or point MODELS_MIRROR at a folder or address that has it."
    )
    assert not [p for p in folder.iterdir() if p.name != ".fetching"], "nothing half done stays"
    server.add("/good/words.txt", TEXT)
    assert Store(folder).fetch(file(*entry.sources, ZooFile("good/words.txt"))).read_bytes() == TEXT


def test_nobody_publishes_it(folder: Path) -> None:
    with pytest.raises(FetchError, match=r"could not be fetched: nobody publishes it; put words\.txt into"):
        Store(folder).fetch(file())


def test_an_interrupted_fetch_leaves_its_part_and_the_next_goes_on(folder: Path, server: FileServer) -> None:
    content = b"line\n" * 200_000
    served = server.add("/a/words.txt", content, cuts=[400_000, 0, 0, 0, 0])
    entry = file(ZooFile("a/words.txt"), content=content)
    with pytest.raises(FetchError, match="cut the connection after 400,000 of 1,000,000 bytes"):
        Store(folder).fetch(entry)
    assert Store(folder).find(entry) is None
    served.cuts = []
    assert Store(folder).fetch(entry).read_bytes() == content
    assert server.total == len(content)


def test_hub_files_come_from_the_endpoint_with_its_redirects(folder: Path, server: FileServer) -> None:
    server.add("/org/repo/resolve/main/tokenizer.json", b"", redirect=f"{server.url}/cdn")
    server.add("/cdn", b"{}")
    entry = file(HubFile("org/repo", "tokenizer.json"), name="t.json", content=None)
    assert Store(folder, hf_endpoint=server.url + "/").fetch(entry).read_bytes() == b"{}"


def zipped(member: str, content: bytes, padding: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("padding", RNG.bytes(padding))
        archive.writestr(f"some/folder/{member}", content)
    return out.getvalue()


def test_only_the_member_of_a_zip_is_transferred(folder: Path, server: FileServer) -> None:
    server.add("/a.zip", zipped("up.onnx", network(), 3_000_000))
    entry = file(ZooZip("a.zip", "up.onnx"), name="net.onnx", content=None)
    path = Store(folder).fetch(entry)
    assert path.read_bytes() == network()
    assert server.total < 300_000


def test_the_whole_zip_where_ranges_are_not_served(folder: Path, server: FileServer) -> None:
    server.add("/a.zip", zipped("up.onnx", network(), 200_000), ranges=False, cuts=[100, 100_000])
    entry = file(ZooZip("a.zip", "up.onnx"), name="net.onnx", content=None)
    assert Store(folder).fetch(entry).read_bytes() == network()
    assert sorted(p.name for p in folder.iterdir()) == [".fetching", "checksums.json", "net.onnx"]


def test_a_host_out_of_reach_is_tried_once_for_all_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    asked = []

    def nobody(host: str, *args: object, **more: object) -> object:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    store = Store(folder)
    for name in ("a.txt", "b.txt"):
        with pytest.raises(FetchError, match="cannot be found: no internet connection"):
            store.fetch(file(ZooFile(f"x/{name}"), ZooZip(f"{name}.zip", name), name=name))
    assert len(asked) == 1


# ---------------------------------------------------------------------- mirror


@pytest.mark.parametrize("kind", ["folder", "file address", "http"])
@pytest.mark.parametrize("place", ["words.txt", "upstream.txt", "deep/words.txt"])
def test_the_mirror_is_asked_first(folder: Path, tmp_path: Path, server: FileServer, kind: str, place: str) -> None:
    server.add("/deep/words.txt", TEXT)
    mirror = tmp_path / "mirror dir"
    (mirror / place).parent.mkdir(parents=True)
    (mirror / place).write_bytes(TEXT)
    server.add(f"/mirror/{place}", TEXT)
    where = {"folder": str(mirror), "file address": mirror.as_uri(), "http": f"{server.url}/mirror/"}[kind]
    entry = file(ZooFile("deep/words.txt"), aliases=("upstream.txt",))
    assert Store(folder, mirror=where).fetch(entry) == folder / "words.txt"
    assert "/deep/words.txt" not in [path for path, _ in server.asked]


def test_a_mirror_lends_zips_and_hub_files_by_their_upstream_path(folder: Path, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    for path, content in {
        "zoo/a.zip": zipped("up.onnx", network(), 100),
        "org/repo/tokenizer.json": b"{}",
        "org/repo2/resolve/main/tokenizer.json": b"{}",
    }.items():
        (mirror / path).parent.mkdir(parents=True)
        (mirror / path).write_bytes(content)
    store = Store(folder, mirror=str(mirror), hf_endpoint="http://127.0.0.1:9")
    assert store.fetch(file(ZooZip("zoo/a.zip", "up.onnx"), name="n.onnx", content=None)).read_bytes() == network()
    for repo in ("repo", "repo2"):
        entry = file(HubFile(f"org/{repo}", "tokenizer.json"), name=f"{repo}.json", content=None)
        assert store.fetch(entry).read_bytes() == b"{}"


def test_a_file_without_source_comes_from_the_mirror(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes(TEXT)
    assert Store(folder, mirror=str(tmp_path)).fetch(file()) == folder / "words.txt"


def test_a_bad_file_on_the_mirror_is_told_and_passed_over(folder: Path, tmp_path: Path, server: FileServer) -> None:
    (tmp_path / "words.txt").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    entry = file(ZooFile("a/words.txt"))
    with pytest.raises(FetchError, match=rf"{tmp_path}/words.txt: what came from there is refused: .* Git LFS pointer"):
        Store(folder, mirror=str(tmp_path)).fetch(entry)
    server.add("/a/words.txt", TEXT)
    assert Store(folder, mirror=str(tmp_path)).fetch(entry).read_bytes() == TEXT


def test_a_mirror_that_has_nothing(folder: Path, tmp_path: Path, server: FileServer) -> None:
    entry = file(aliases=("upstream.txt",))
    with pytest.raises(FetchError, match=rf"mirror {tmp_path}/none: it has none of words\.txt, upstream\.txt"):
        Store(folder, mirror=f"{tmp_path}/none").fetch(entry)
    with pytest.raises(FetchError, match=r"/words\.txt: .*HTTP 404(.|\n)*/upstream\.txt: .*HTTP 404"):
        Store(folder, mirror=server.url).fetch(entry)


def test_the_password_of_a_mirror_is_used_but_not_told(folder: Path, server: FileServer) -> None:
    server.add("/words.txt", b"", redirect=f"{server.url}/elsewhere")
    mirror = server.url.replace("http://", "http://me:se%40cret@")
    with pytest.raises(FetchError) as caught:
        Store(folder, mirror=mirror).fetch(file())
    assert "cret" not in str(caught.value)
    server.add("/elsewhere", TEXT)
    server.logins.clear()
    Store(folder, mirror=mirror).fetch(file())
    assert server.logins == ["Basic bWU6c2VAY3JldA==", None], "me:se@cret, and nothing where the redirect leads"


def test_a_bad_archive_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    content = bytearray(zipped("up.onnx", RNG.bytes(200_000), 0))
    content[100_000] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(FetchError, match=r"up\.onnx in the archive is damaged"):
        Store(folder, mirror=str(tmp_path)).fetch(file(ZooZip("a.zip", "up.onnx"), name="n.onnx", content=None))
    assert [p.name for p in folder.iterdir()] == [".fetching"]


def test_a_lock_that_cannot_be_had_does_not_stop_anything(folder: Path) -> None:
    (folder / ".fetching").mkdir()
    with alone(folder):
        pass


def test_a_mirror_that_is_no_address(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"MODELS_MIRROR=http://\[::1: it takes a folder or an http"):
        Store(folder, mirror="http://[::1")


# --------------------------------------------------------------- text weights

CUT = CheckpointCut(
    (HubFile("org/repo", "a.safetensors"), HubFile("org/repo", "b.safetensors")),
    {"tokens": ("t",), "norm": ("n",)},
    dtype="float32",
    mapped=("tokens",),
)


def weights() -> ModelFile:
    return file(CUT, name="text_weights.npz", content=None)


def test_weights_are_cut_out_of_the_first_checkpoint_there_is(folder: Path, server: FileServer) -> None:
    server.add("/org/repo/resolve/main/b.safetensors", CHECKPOINT)
    store = Store(folder, hf_endpoint=server.url)
    path = store.fetch(weights())
    assert sorted(p.name for p in folder.iterdir()) == [
        ".fetching",
        "checksums.json",
        "text_weights.npz",
        "text_weights.tokens.npy",
    ]
    arrays = load_text_weights(path)
    assert np.array_equal(arrays["tokens"], TOKENS)
    assert np.array_equal(arrays["norm"], NORM)
    assert isinstance(arrays["tokens"], np.memmap)
    assert store.check(weights(), path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_weights_from_a_server_without_ranges(folder: Path, server: FileServer) -> None:
    server.add("/org/repo/resolve/main/a.safetensors", CHECKPOINT, ranges=False)
    assert np.array_equal(load_text_weights(Store(folder, hf_endpoint=server.url).fetch(weights()))["tokens"], TOKENS)
    assert not list(folder.glob("*.whole*"))


@pytest.mark.parametrize("kind", ["folder", "http"])
@pytest.mark.parametrize("beside", [True, False])
def test_ready_made_weights_from_the_mirror(
    folder: Path, tmp_path: Path, server: FileServer, kind: str, beside: bool
) -> None:
    table = io.BytesIO()
    np.save(table, TOKENS)
    made = {"text_weights.npz": npz(norm=NORM) if beside else npz(norm=NORM, tokens=TOKENS)}
    made |= {"text_weights.tokens.npy": table.getvalue()} if beside else {}
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
        server.add(f"/{name}", content)
    store = Store(folder, mirror=str(tmp_path) if kind == "folder" else server.url)
    assert np.array_equal(load_text_weights(store.fetch(weights()))["tokens"], TOKENS)


def test_weights_cut_from_a_checkpoint_on_the_mirror(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "org" / "repo").mkdir(parents=True)
    (tmp_path / "org" / "repo" / "a.safetensors").write_bytes(CHECKPOINT)
    path = Store(folder, mirror=str(tmp_path)).fetch(weights())
    assert np.array_equal(load_text_weights(path)["norm"], NORM)


def test_weights_that_lack_an_array(folder: Path) -> None:
    path = folder / "text_weights.npz"
    path.write_bytes(npz(tokens=TOKENS))
    with pytest.raises(ModelError, match=r"is damaged or not a \.npz file: it has no array norm\. Fetch it again"):
        Store(folder).check(weights(), path)
    path.write_bytes(npz(norm=NORM))
    with pytest.raises(ModelError, match=r"no array tokens, nor is text_weights\.tokens\.npy beside it"):
        Store(folder).check(weights(), path)
    (folder / "text_weights.tokens.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ModelError, match="is damaged or not"):
        Store(folder).check(weights(), path)


def test_weights_that_are_no_numbers(folder: Path) -> None:
    path = folder / "text_weights.npz"
    for bad in (np.array([np.nan]), np.array([1])):
        path.write_bytes(npz(norm=NORM, tokens=bad))
        with pytest.raises(ModelError, match="tokens does not hold finite floating-point numbers"):
            Store(folder).check(weights(), path)


def test_a_table_that_changed_later_is_refused(folder: Path, server: FileServer) -> None:
    server.add("/org/repo/resolve/main/a.safetensors", CHECKPOINT)
    store = Store(folder, hf_endpoint=server.url)
    path = store.fetch(weights())
    store.check(weights(), path)
    np.save(folder / "text_weights.tokens.npy", TOKENS * 2)
    with pytest.raises(ModelError, match=r"text_weights\.tokens\.npy is not the file that was first used"):
        store.check(weights(), path)


# ----------------------------------------------------------------------- check


def test_check_returns_the_hash_and_reads_a_file_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "words.txt"
    path.write_bytes(TEXT)
    read: list[Path] = []
    plain = verify.sha256_of
    monkeypatch.setattr(verify, "sha256_of", lambda path: read.append(path) or plain(path))  # type: ignore[func-returns-value]
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

    def full(self: Path, *args: object, **more: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
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
        ("a.txt.gz", gzip.compress(TEXT * 100)[:-9], r"damaged or not a \.gz file: it does not unpack"),
        ("a.txt.gz", b"plain", r"damaged or not a \.gz file: it does not unpack"),
        ("a.npz", b"plain", r"damaged or not a \.npz file"),
        ("a.npz", npz(x=NORM)[:-10], r"damaged or not a \.npz file"),
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
        ("a.txt.gz", gzip.compress(TEXT)),
        ("a.npz", npz(x=NORM)),
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
