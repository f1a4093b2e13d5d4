"""What the store fetches, from where, and what it says when it cannot."""

import errno
from pathlib import Path

import pytest
import store_files
from file_server import FileServer, hasty
from hef_container import container, message
from store_files import RNG, TEXT, file, network, zipped

from ml_target.catalogue.types import HubFile, ZooFile, ZooZip
from ml_target.errors import FetchError, SettingsError
from ml_target.store import Store
from ml_target.store.record import exclusive

server = store_files.server
folder = store_files.folder


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
    assert caught.value.remedy == lines[4]
    assert caught.value.reason == "\n".join(lines[:4])
    assert not [p for p in folder.iterdir() if p.name != ".fetching"], "nothing half done stays"
    server.add("/good/words.txt", TEXT)
    assert Store(folder).fetch(file(*entry.sources, ZooFile("good/words.txt"))).read_bytes() == TEXT


def test_nobody_publishes_it(folder: Path) -> None:
    with pytest.raises(FetchError, match=r"could not be fetched: nobody publishes it; put words\.txt into") as caught:
        Store(folder).fetch(file())
    assert caught.value.remedy.startswith("put words.txt into")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("net.onnx", b"", "net.onnx is empty"),
        ("net.onnx", network().replace(b"Relu", b"Rela"), "net.onnx is damaged or not a .onnx file: .*net.onnx failed"),
        ("net.hef", b"no HEF", "net.hef is not a HEF"),
        ("net.hef", container(2)[:-1], "net.hef is cut off"),
        ("net.hef", container(2, message(4)), "net.hef was compiled for Hailo-15M"),
    ],
)
def test_what_is_refused_goes_by_its_final_name(
    folder: Path, server: FileServer, name: str, content: bytes, words: str
) -> None:
    """Though it lies under another one, which the libraries that read it tell, too."""
    server.add(f"/a/{name}", content)
    chip = "hailo8" if name == "net.hef" else None
    with pytest.raises(FetchError, match=f"what came from there is refused: {words}") as caught:
        Store(folder).fetch(file(ZooFile(f"a/{name}"), name=name, content=None, chip=chip))
    assert ".part" not in str(caught.value)


def test_an_interrupted_fetch_leaves_its_part_and_the_next_goes_on(folder: Path, server: FileServer) -> None:
    content = b"line\n" * 200_000
    served = server.add("/a/words.txt", content, cuts=[400_000, 0, 0, 0, 0])
    entry = file(ZooFile("a/words.txt"), content=content)
    with pytest.raises(FetchError, match="cut the connection after 400,000 of 1,000,000 bytes"):
        Store(folder, web=hasty()).fetch(entry)
    assert Store(folder).find(entry) is None
    served.cuts = []
    assert Store(folder).fetch(entry).read_bytes() == content
    assert server.total == len(content)


def test_hub_files_come_from_the_endpoint_with_its_redirects(folder: Path, server: FileServer) -> None:
    server.add("/org/repo/resolve/main/tokenizer.json", b"", redirect=f"{server.url}/cdn")
    server.add("/cdn", b"{}")
    entry = file(HubFile("org/repo", "tokenizer.json"), name="t.json", content=None)
    assert Store(folder, hf_endpoint=server.url + "/").fetch(entry).read_bytes() == b"{}"


def test_only_the_member_of_a_zip_is_transferred(folder: Path, server: FileServer) -> None:
    server.add("/a.zip", zipped("up.onnx", network(), 3_000_000))
    entry = file(ZooZip("a.zip", "up.onnx"), name="net.onnx", content=None)
    path = Store(folder).fetch(entry)
    assert path.read_bytes() == network()
    assert server.total < 300_000


def test_the_whole_zip_where_ranges_are_not_served(folder: Path, server: FileServer) -> None:
    server.add("/a.zip", zipped("up.onnx", network(), 200_000), ranges=False, cuts=[100, 100_000])
    entry = file(ZooZip("a.zip", "up.onnx"), name="net.onnx", content=None)
    assert Store(folder, web=hasty()).fetch(entry).read_bytes() == network()
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
    with pytest.raises(
        FetchError,
        match=rf"{tmp_path}/words.txt: what came from there is refused: .* Git LFS pointer .*itself\. Fetch .*lfs pull",
    ):
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
    elsewhere = server.url.replace("127.0.0.1", "localhost")
    server.add("/words.txt", b"", redirect=f"{elsewhere}/elsewhere")
    mirror = server.url.replace("http://", "http://me:se%40cret@")
    with pytest.raises(FetchError) as caught:
        Store(folder, mirror=mirror).fetch(file())
    assert "cret" not in str(caught.value)
    server.add("/elsewhere", TEXT)
    server.logins.clear()
    Store(folder, mirror=mirror).fetch(file())
    assert server.logins == ["Basic bWU6c2VAY3JldA==", None], (
        "me:se@cret, and nothing to the other host that the redirect leads to"
    )


def test_a_bad_archive_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    content = bytearray(zipped("up.onnx", RNG.bytes(200_000), 0))
    content[100_000] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(FetchError, match=r"up\.onnx in the archive is damaged"):
        Store(folder, mirror=str(tmp_path)).fetch(file(ZooZip("a.zip", "up.onnx"), name="n.onnx", content=None))
    assert [p.name for p in folder.iterdir()] == [".fetching"]


def test_a_lock_that_cannot_be_had_does_not_stop_anything(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / ".fetching").mkdir()
    with exclusive(folder):
        pass
    assert f"{folder / '.fetching'} cannot be locked (Is a directory)" in caplog.text
    assert "Run one at a time, or let" in caplog.text


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError()])
def test_where_there_are_no_locks_nothing_can_be_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def none(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("ml_target.store.record.FileLock.acquire", none)
    with exclusive(folder):
        assert not caplog.messages


def test_a_mirror_that_is_no_address(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"MODELS_MIRROR=http://\[::1: it takes a folder or an http"):
        Store(folder, mirror="http://[::1")
