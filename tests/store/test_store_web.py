"""Transfers: resume, retries, ranges, and every fault of a server or a network in words."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import file_server
import httpx2
import numpy as np
import pytest
from file_server import FileServer, hasty

from ml_target.errors import FetchError
from ml_target.transfer import web
from ml_target.transfer.download import download, filling, resumable, writing
from ml_target.transfer.progress import Progress
from ml_target.transfer.web import CutError, SourceError, Web, shown

CONTENT = np.random.default_rng(1).bytes(3_000_000)
SILENT = Progress(None)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server.serving() as state:
        yield state


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "network.onnx.part"


def get(server: FileServer, part: Path, path: str = "/file", use: Web | None = None) -> None:
    download(use or hasty(), server.url + path, part, SILENT, "file")


# ------------------------------------------------------------------- download


def test_whole_file(server: FileServer, part: Path) -> None:
    server.add("/file", CONTENT)
    get(server, part)
    assert part.read_bytes() == CONTENT
    assert [p.name for p in part.parent.iterdir()] == [part.name], "no note is left behind"


def test_a_cut_connection_is_resumed_where_it_was_cut(server: FileServer, part: Path) -> None:
    server.add("/file", CONTENT, cuts=[1_000_000, 500_000])
    get(server, part)
    assert part.read_bytes() == CONTENT
    assert server.total == len(CONTENT), "no byte is sent twice"
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000000-", "bytes=1500000-"]


def test_the_next_run_goes_on_where_the_last_one_ended(server: FileServer, part: Path) -> None:
    served = server.add("/file", CONTENT, cuts=[1_200_000, 0, 0, 0, 0])
    with pytest.raises(CutError, match=r"127\.0\.0\.1 cut the connection after 1,200,000 of 3,000,000 bytes"):
        get(server, part)
    served.cuts = []
    get(server, part, use=hasty())
    assert part.read_bytes() == CONTENT
    assert server.total == len(CONTENT)


def test_a_complete_part_is_not_asked_for_again(server: FileServer, part: Path) -> None:
    served = server.add("/file", CONTENT, cuts=[1_000_000, 0, 0, 0, 0])
    with pytest.raises(CutError):
        get(server, part)
    part.write_bytes(CONTENT)
    served.statuses = [500]
    get(server, part)
    assert part.read_bytes() == CONTENT


def test_a_file_that_changed_in_between_is_taken_anew(server: FileServer, part: Path) -> None:
    served = server.add("/file", CONTENT, cuts=[1_000_000, 0, 0, 0, 0])
    with pytest.raises(CutError):
        get(server, part)
    served.content, served.etag, served.cuts = CONTENT[::-1], '"edition-2"', []
    get(server, part)
    assert part.read_bytes() == CONTENT[::-1]


def test_a_shorter_file_without_edition_is_taken_anew(server: FileServer, part: Path) -> None:
    served = server.add("/file", CONTENT, cuts=[1_000_000, 0, 0, 0, 0], etag="")
    with pytest.raises(CutError):
        get(server, part)
    served.content, served.cuts = CONTENT[:400_000], []
    get(server, part)
    assert part.read_bytes() == CONTENT[:400_000]
    served.content = CONTENT[:1_500_000]


def test_without_an_edition_nothing_is_resumed(server: FileServer, part: Path) -> None:
    """Another edition of the same length could not be told from this one."""
    served = server.add("/file", CONTENT, cuts=[1_000_000, 0, 0, 0, 0], etag="")
    with pytest.raises(CutError):
        get(server, part)
    assert not resumable(part)
    served.content, served.cuts = CONTENT[::-1], []
    get(server, part)
    assert part.read_bytes() == CONTENT[::-1]


def test_a_server_that_ignores_the_edition_asked_for(part: Path) -> None:
    """It sends the rest of another edition, of the same length."""
    editions = iter((CONTENT[:100], CONTENT[100:200], CONTENT[100:200]))

    def answer(request: httpx2.Request) -> httpx2.Response:
        content = next(editions)
        first = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        headers = {"ETag": f'"{content[:4].hex()}"', "Content-Length": f"{100 - first}"}
        if first:
            headers["Content-Range"] = f"bytes {first}-99/100"
        body = content[:40] if content == CONTENT[:100] else content[first:]  # the first answer is cut
        return httpx2.Response(206 if first else 200, headers=headers, content=iter([body]))

    get(FileServer("http://x"), part, use=hasty(httpx2.MockTransport(answer)))
    assert part.read_bytes() == CONTENT[100:200]


def test_a_cut_answer_of_unknown_total_is_told() -> None:
    """Nobody counts what should have come."""

    def cut() -> Iterator[bytes]:
        yield b"half"
        raise httpx2.RemoteProtocolError("peer closed connection without sending complete message body")

    answer = httpx2.Response(206, headers={"Content-Length": "8", "Content-Range": "bytes 4-11/*"}, content=cut())
    with pytest.raises(CutError, match="x broke off"):
        list(web.blocks_of(answer, "x", counted=False))


@pytest.mark.parametrize("full", ["write", "close"])
def test_a_disk_that_is_full_only_at_the_end(tmp_path: Path, full: str) -> None:
    """What is buffered is written at the end: that, too, is told as a fault of this disk."""
    (tmp_path / "file").symlink_to("/dev/full")
    with (  # noqa: PT012
        pytest.raises(FetchError, match="no space left in"),
        filling(tmp_path / "file") as file,
    ):
        file.write(b"x")
        if full == "close":
            raise SourceError("the server is gone")


def test_a_part_from_another_address_is_not_gone_on_with(server: FileServer, part: Path) -> None:
    server.add("/other", CONTENT[::-1], cuts=[1_000_000, 0, 0, 0, 0])
    server.add("/file", CONTENT)
    with pytest.raises(CutError):
        get(server, part, "/other")
    get(server, part)
    assert part.read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_sends_all_again(server: FileServer, part: Path) -> None:
    server.add("/file", CONTENT, ranges=False, cuts=[1_000_000])
    get(server, part)
    assert part.read_bytes() == CONTENT
    assert server.total == 1_000_000 + len(CONTENT)


def test_a_note_that_cannot_be_read_means_from_the_beginning(server: FileServer, part: Path) -> None:
    server.add("/file", CONTENT)
    part.write_bytes(b"something")
    part.with_name(part.name + ".json").write_text("{")
    get(server, part)
    assert part.read_bytes() == CONTENT


def test_more_promised_than_sent(server: FileServer, part: Path) -> None:
    server.add("/file", CONTENT, length=len(CONTENT) + 10, ranges=False)
    with pytest.raises(CutError, match="cut the connection after 3,000,000 of 3,000,010 bytes"):
        get(server, part)


def test_no_length_at_all(server: FileServer, part: Path) -> None:
    server.add("/file", CONTENT, length=-1)
    get(server, part)
    assert part.read_bytes() == CONTENT


def test_passing_faults_of_the_server_are_waited_for(server: FileServer, part: Path) -> None:
    server.add("/file", CONTENT, statuses=[503, 429, 500])
    get(server, part)
    assert part.read_bytes() == CONTENT


def test_redirects_keep_the_range(server: FileServer, part: Path) -> None:
    server.add("/file", b"", redirect=f"{server.url}/real")
    server.add("/real", CONTENT, cuts=[1_000_000])
    get(server, part)
    assert part.read_bytes() == CONTENT
    assert server.asked[-1] == ("/real", "bytes=1000000-")
    assert server.total == len(CONTENT)


@pytest.mark.parametrize(
    ("status", "words", "requests"),
    [
        (404, r"does not have it \(HTTP 404\); it may have moved, a mirror may help", 1),
        (410, r"does not have it \(HTTP 410\)", 1),
        (401, r"refuses it \(HTTP 401\): it wants a login", 1),
        (403, r"refuses it \(HTTP 403\): the file may not be there any more", 1),
        (407, r"the proxy wants a login \(HTTP 407\); set HTTPS_PROXY", 1),
        (418, r"answered HTTP 418; try again later or use a mirror", 1),
        (429, r"does not answer this now \(HTTP 429\); try again later", 4),
        (503, r"reports a server error \(HTTP 503\); try again later", 4),
        (416, r"has less of it than there should be \(HTTP 416\)", 4),
    ],
)
def test_statuses_in_words(server: FileServer, part: Path, status: int, words: str, requests: int) -> None:
    server.add("/file", CONTENT, statuses=[status] * 9)
    with pytest.raises(SourceError, match=words):
        get(server, part)
    assert len(server.asked) == requests


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"\n<!DOCTYPE html><html>Please log in</html>",
            r"a web page instead of the file: a login page .*in between\. Log in there, or set HTTPS_PROXY",
        ),
        (b"<HTML><body>", "a web page instead of the file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n",
            r"a Git LFS pointer .*itself\. Fetch .* git lfs pull",
        ),
    ],
)
def test_what_comes_in_place_of_a_file(server: FileServer, part: Path, content: bytes, words: str) -> None:
    server.add("/file", content)
    with pytest.raises(SourceError, match=words):
        get(server, part)
    assert not part.exists()


# ---------------------------------------------------------------- no network


def test_a_name_that_is_not_known_fails_at_once_and_only_once(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def nobody(host: str, *args: object, **more: object) -> object:
        asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    use = Web()
    for path in ("a", "b", "c"):
        with pytest.raises(
            SourceError, match=r"models\.example cannot be found: no internet connection.*; check the network"
        ):
            download(use, f"https://models.example/{path}", part, SILENT, "x")
    assert asked == ["models.example"]


def test_a_host_out_of_reach_is_asked_again_after_a_while() -> None:
    now, asked = [1000.0], [0]

    def away_at_first(request: httpx2.Request) -> httpx2.Response:
        asked[0] += 1
        if asked[0] == 1:
            raise httpx2.ConnectError("away")
        return httpx2.Response(200)

    use = Web(httpx2.MockTransport(away_at_first), clock=lambda: now[0])
    for later, requests in ((0, 1), (0, 1), (299, 1)):
        now[0] += later
        with pytest.raises(SourceError, match=r"h cannot be reached \(away\)"):
            use.open("http://h/file")
        assert asked[0] == requests
    now[0] += 2
    use.open("http://h/file").close()


def test_each_further_try_waits_twice_as_long_and_bytes_begin_anew(server: FileServer, part: Path) -> None:
    server.add("/file", CONTENT, cuts=[0, 0, 1_000_000, 0, 0, 0, 0])
    waited: list[float] = []
    with pytest.raises(CutError):
        get(server, part, use=Web(sleep=waited.append))
    assert waited == [1, 2, 1, 2, 4], "the fourth in a row ends it"


def test_a_server_that_is_down(part: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/file"
        with pytest.raises(SourceError, match=r"127\.0\.0\.1 refuses connections; check that .*the server is up"):
            download(Web(), address, part, SILENT, "x")


def test_a_server_that_does_not_answer(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silence(*args: object, **more: object) -> object:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", silence)
    with pytest.raises(SourceError, match=r"did not answer within 10 s: .*a firewall drops it; check the network"):
        download(Web(), "http://192.0.2.1/file", part, SILENT, "x")


def test_a_server_that_hangs_up_before_it_answers(part: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stop = threading.Event()

        def hang_up() -> None:
            listening.settimeout(0.05)
            while not stop.is_set():
                with suppress(TimeoutError):
                    listening.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            with pytest.raises(CutError, match=r"broke off before it answered .*try again later"):
                download(hasty(), f"http://127.0.0.1:{listening.getsockname()[1]}/file", part, SILENT, "x")
        finally:
            stop.set()
            thread.join()


def test_a_server_that_falls_silent(server: FileServer, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "READ_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connections = []

        def start_only() -> None:
            for _ in range(4):
                connections.append(listening.accept()[0])
                connections[-1].recv(1000)
                connections[-1].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")

        thread = threading.Thread(target=start_only)
        thread.start()
        with pytest.raises(CutError, match=r"broke off \(no byte for too long\)"):
            download(hasty(), f"http://127.0.0.1:{listening.getsockname()[1]}/file", part, SILENT, "x")
        thread.join()
        for connection in connections:
            connection.close()
    assert part.read_bytes() == b"abc", "what has come is kept"


def test_a_certificate_that_is_not_trusted() -> None:
    import ssl

    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = "self-signed certificate"
    told = web._out_of_reach("h", error)
    assert told.reason == "h shows a certificate that is not trusted (self-signed certificate)"
    assert told.remedy.startswith("check the clock, and SSL_CERT_FILE")
    assert str(web._out_of_reach("h", httpx2.ProxyError("odd"))).startswith("h cannot be reached (odd); check the")
    assert "h cannot be reached (No route to host);" in str(web._out_of_reach("h", OSError(113, "No route to host")))


def test_the_proxy_that_the_environment_names(server: FileServer, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pip reads it: by scheme and with exceptions. ALL_PROXY, which may be a SOCKS proxy, is not for it."""
    server.add("http://models.example/file", CONTENT)
    server.add("/file", CONTENT[:10])
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for proxy in (server.url, server.url.removeprefix("http://")):
        monkeypatch.setenv("http_proxy", proxy)
        download(hasty(), "http://models.example/file", part, SILENT, "x")
        assert part.read_bytes() == CONTENT
        get(server, part)
        assert part.read_bytes() == CONTENT[:10]
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(SourceError, match=r"models\.example cannot be reached \(socks5 proxies are not supported\)"):
        download(hasty(), "http://models.example/file", part, SILENT, "x")


def test_a_proxy_that_wants_a_login(server: FileServer, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add("models.example:443", b"", statuses=[407] * 9)
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(
        SourceError, match=r"the proxy wants a login \(HTTP 407\); set HTTPS_PROXY=http://user:password"
    ):
        download(hasty(), "https://models.example/file", part, SILENT, "x")


@pytest.mark.parametrize("address", ["http://[::1/file", "http://host:port/file", "nonsense"])
def test_an_address_that_is_none(part: Path, address: str) -> None:
    with pytest.raises(SourceError, match=r"is not a usable address .*correct it|cannot be reached"):
        download(Web(), address, part, SILENT, "x")


def test_passwords_are_not_shown() -> None:
    assert shown("https://me:secret@host:81/a?token=1") == "https://host:81/a"
    assert shown("https://host/a") == "https://host/a"


# ------------------------------------------------------------------- the disk


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (28, "no space left in .* MODELS_DIR at a folder on a larger disk"),
        (13, r"cannot be written \(.*\)\. Give the worker's user write permission"),
        (30, r"cannot be written \(.*\)\. Give the worker's user write permission"),
        (5, "Check the disk, or point MODELS_DIR at another folder"),
    ],
)
def test_faults_of_the_disk_in_words(tmp_path: Path, number: int, words: str) -> None:
    import os

    with pytest.raises(FetchError, match=words), writing(tmp_path):
        raise OSError(number, os.strerror(number))


def test_a_file_that_will_not_fit_is_not_begun(server: FileServer, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add("/file", CONTENT)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 4_000_000}))
    with pytest.raises(FetchError, match=r"no space left in .*: 3 MB are needed, 4 MB are free\. Free some"):
        get(server, part)
    assert not part.exists()
