"""What a download is held against: an encrypted connection all the way, the hub's own hash, the file of first use."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
import store_files
from file_server import FileServer, hasty
from store_files import TEXT, file, hef_file, network

from ml_target.catalogue.types import HubFile, ZooFile
from ml_target.errors import DamagedFileError, FetchError
from ml_target.store import Store
from ml_target.transfer.download import download
from ml_target.transfer.partial import WebFile
from ml_target.transfer.progress import Progress
from ml_target.transfer.web import SourceError, Web

folder, server = store_files.folder, store_files.server
SHA256 = hashlib.sha256(TEXT).hexdigest()
BLOB = hashlib.sha1(b"blob %d\0" % len(TEXT) + TEXT).hexdigest()
HUB = HubFile("org/repo", "words.txt")
ASKED = "/org/repo/resolve/main/words.txt"


# ------------------------------------------------------------------- redirects


def redirecting(location: str) -> Web:
    """A server that leads elsewhere; where it leads to, the file is."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/file":
            return httpx2.Response(302, headers={"Location": location})
        return httpx2.Response(200, stream=httpx2.ByteStream(TEXT))

    return hasty(httpx2.MockTransport(answer))


@pytest.mark.parametrize("location", ["http://files.example/x", "HTTP://models.example/x", "ftp://files.example/x"])
def test_a_redirect_away_from_https_is_refused(tmp_path: Path, location: str) -> None:
    part = tmp_path / "part"
    attempts: tuple[Callable[[Web, str], object], ...] = (
        lambda web, url: download(web, url, part, Progress(None), "x"),
        WebFile,
    )
    for attempt in attempts:
        with pytest.raises(SourceError, match=r"models\.example leads from https to .*: refused; use a mirror, or an"):
            attempt(redirecting(location), "https://models.example/file")
    assert not part.exists()


@pytest.mark.parametrize(
    ("start", "location"),
    [
        ("https://models.example/file", "https://files.example/x"),
        ("https://models.example/file", "/x"),
        ("http://models.example/file", "https://files.example/x"),
        ("http://models.example/file", "http://files.example/x"),
    ],
)
def test_other_redirects_are_followed(tmp_path: Path, start: str, location: str) -> None:
    download(redirecting(location), start, tmp_path / "part", Progress(None), "x")
    assert (tmp_path / "part").read_bytes() == TEXT


def test_redirects_without_end(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="redirects without end"):
        download(redirecting("/file"), "https://models.example/file", tmp_path / "part", Progress(None), "x")


def test_the_login_of_a_mirror_is_told_to_that_server_alone(folder: Path, server: FileServer) -> None:
    server.add("/words.txt", b"", redirect=f"{server.url}/moved")
    server.add("/moved", TEXT)
    Store(folder, mirror=server.url.replace("//", "//me:secret@")).fetch(file())
    assert len(set(server.logins)) == 1, "the same server, which asks for it there too"


# ------------------------------------------------------------- the hub's hash


@pytest.mark.parametrize(
    "told",
    [
        {"X-Linked-Etag": f'"{SHA256}"', "ETag": '"other"'},
        {"X-Repo-Commit": "c0ffee", "ETag": f'"{BLOB}"'},
        {"X-Repo-Commit": "c0ffee", "ETag": f'W/"{BLOB}"'},
        {"X-Repo-Commit": "c0ffee", "ETag": '"no hash"'},
        {"ETag": f'"{"0" * 40}"'},  # no hub: an ETag is whatever the server likes
    ],
)
@pytest.mark.parametrize("redirected", [True, False])
def test_what_the_hub_tells_and_what_came_agree(
    folder: Path, server: FileServer, told: dict[str, str], redirected: bool
) -> None:
    served = server.add(ASKED, TEXT, headers=told)
    if redirected:
        served.redirect = f"{server.url}/cdn"
        server.add("/cdn", TEXT)
    assert Store(folder, hf_endpoint=server.url).fetch(file(HUB, content=None)).read_bytes() == TEXT


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (
            {"X-Linked-Etag": f'"{"0" * 64}"'},
            rf"its SHA-256 is {SHA256}, not 0{{64}}; try again later, or use a mirror",
        ),
        ({"X-Repo-Commit": "c0ffee", "ETag": f'"{"0" * 40}"'}, rf"its Git blob id is {BLOB}, not 0{{40}}; try again"),
    ],
)
def test_what_came_is_not_what_the_hub_tells_of(
    folder: Path, server: FileServer, told: dict[str, str], words: str
) -> None:
    server.add(ASKED, b"", redirect=f"{server.url}/cdn", headers=told)
    server.add("/cdn", TEXT)
    with pytest.raises(FetchError, match=rf"what came is not the file that 127\.0\.0\.1 announces: {words}"):
        Store(folder, hf_endpoint=server.url).fetch(file(HUB, content=None))
    assert [path.name for path in folder.iterdir()] == [".fetching"], "nothing to go on with"


def test_the_hubs_hash_outlives_a_cut(folder: Path, server: FileServer) -> None:
    """What the first answer told is held against the whole file, though a later one tells nothing."""
    served = server.add(ASKED, TEXT, cuts=[5, 0, 0, 0, 0], headers={"X-Linked-Etag": f'"{"0" * 64}"'})
    with pytest.raises(FetchError, match="cut the connection"):
        Store(folder, hf_endpoint=server.url, web=hasty()).fetch(file(HUB, content=None))
    served.cuts, served.headers = [], {}
    with pytest.raises(FetchError, match="is not the file that"):
        Store(folder, hf_endpoint=server.url).fetch(file(HUB, content=None))


# ------------------------------------------------------------ pinned at first


def test_a_file_without_a_published_checksum_is_pinned_and_the_log_says_so(
    folder: Path, server: FileServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    served = server.add("/a/words.txt", TEXT)
    entry = file(ZooFile("a/words.txt"), content=None)
    path = Store(folder).fetch(entry)
    (line,) = (each for each in caplog.messages if "no checksum of words.txt is published" in each)
    assert line.endswith(f"from now on it has to be SHA-256 {SHA256}, as recorded in {folder / 'checksums.json'}")
    caplog.clear()
    Store(folder).check(entry, path, fresh=True)
    assert not caplog.messages, "said once"
    path.unlink()
    served.content = b"changed upstream\n"
    with pytest.raises(FetchError) as caught:
        Store(folder).fetch(entry)
    assert f"on record is {SHA256}. If it was replaced on purpose, delete its entry in {folder}" in str(caught.value)
    served.content = TEXT
    assert Store(folder).fetch(entry) == path


def test_a_file_with_a_published_checksum_needs_no_pin(
    folder: Path, server: FileServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.add("/a/words.txt", TEXT)
    Store(folder).fetch(file(ZooFile("a/words.txt")))
    assert "is published" not in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><p>log in", "holds a web page instead of the file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "holds a Git LFS pointer"),
    ],
)
def test_what_is_plainly_no_model_is_not_pinned(folder: Path, content: bytes, words: str) -> None:
    onnx = file(name="net.onnx", content=None)
    (folder / onnx.name).write_bytes(content)
    with pytest.raises(DamagedFileError, match=words):
        Store(folder).pin(onnx, folder / onnx.name)
    assert not (folder / "checksums.json").exists()


def test_a_pinned_file_is_examined_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pinning has not looked whether it is a network."""
    onnx, path = file(name="net.onnx", content=None), folder / "net.onnx"
    path.write_bytes(b"no network")
    store = Store(folder)
    store.pin(onnx, path)
    with pytest.raises(DamagedFileError, match=r"is damaged or not a \.onnx file"):
        store.check(onnx, path)
    (folder / "checksums.json").unlink()
    path.write_bytes(network())
    store.pin(onnx, path)
    store.check(onnx, path)
    monkeypatch.setattr("ml_target.transfer.content.sha256_of", lambda *_: pytest.fail("read again"))
    store.check(onnx, path)


def test_pinning_looks_into_nothing_and_refuses_another_file(folder: Path) -> None:
    """In a build of an image: no network is run there, which may be for another kind of machine."""
    onnx = file(name="net.onnx", content=None)
    (folder / onnx.name).write_bytes(network())
    store = Store(folder)
    store.pin(onnx, folder / onnx.name)
    on_record = json.loads((folder / "checksums.json").read_text())
    assert on_record["net.onnx"]["sha256"] == hashlib.sha256(network()).hexdigest()
    (folder / onnx.name).write_bytes(network() + b"\0")
    with pytest.raises(DamagedFileError, match="is not the file that was first used"):
        store.pin(onnx, folder / onnx.name)
    assert json.loads((folder / "checksums.json").read_text()) == on_record
    (folder / "words.txt").write_bytes(b"other")
    with pytest.raises(DamagedFileError, match="is not the published"):
        store.pin(file(), folder / "words.txt")
    with pytest.raises(DamagedFileError, match="cannot be read"):
        store.pin(hef_file("hailo8"), folder / "net.hef")
