"""A web server on this machine for the store's tests, with the faults that servers have. It counts what it sends."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

import httpx2

from ml_target.transfer.web import Web


def hasty(transport: httpx2.BaseTransport | None = None) -> Web:
    """What opens addresses, without a pause between two tries."""
    return Web(transport, sleep=lambda seconds: None)


@dataclass
class Served:
    """One path. `cuts`: bytes after which the next answers break off. `statuses`: codes of the next answers.

    `holds`: bytes after which the next answers wait for `go_on`; `held` tells that one does.
    `headers`: more of them, sent with a redirect too; an ETag among them takes the place of `etag`.
    """

    content: bytes
    ranges: bool = True
    etag: str = '"edition-1"'
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    length: int | None = None
    redirect: str = ""
    kind: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    holds: list[int] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


@dataclass
class FileServer:
    """`sent`: bytes of content sent, by path. `asked`, `logins`: path and Range, Authorization of each request."""

    url: str
    files: dict[str, Served] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)

    def add(self, path: str, content: bytes, **options: object) -> Served:
        self.files[path] = Served(content, **options)  # type: ignore[arg-type]
        return self.files[path]

    @property
    def total(self) -> int:
        return sum(self.sent.values())


class Handler(BaseHTTPRequestHandler):
    state: FileServer

    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.state.asked.append((self.path, wanted))
        self.state.logins.append(self.headers.get("Authorization"))
        served = self.state.files.get(self.path)
        if served is None or served.statuses:
            self._empty(served.statuses.pop(0) if served else 404)
        elif served.redirect:
            self._empty(302, served.redirect, served.headers)
        else:
            self._answer(served, wanted)

    def do_CONNECT(self) -> None:
        """As a proxy that lets nothing through: with the status of that path, or 404."""
        self.do_GET()

    def _empty(self, status: int, location: str = "", headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", "0")
        if location:
            self.send_header("Location", location)
        self.end_headers()

    def _answer(self, served: Served, wanted: str | None) -> None:
        first, last = 0, len(served.content) - 1
        known = self.headers.get("If-Range")
        partial = bool(wanted) and served.ranges and known in (None, served.etag)
        if wanted and partial:
            start, _, end = wanted.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
            if first > last:
                self._empty(416)
                return
        body = served.content[first : last + 1]
        self.send_response(206 if partial else 200)
        headers = {"ETag": served.etag, **served.headers}
        for name, text in headers.items():
            if text:
                self.send_header(name, text)
        self.send_header("Content-Type", served.kind)
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(served.content)}")
        if served.length != -1:
            self.send_header("Content-Length", str(len(body) if served.length is None else served.length))
        self.end_headers()
        if served.cuts:
            body = body[: served.cuts.pop(0)]
        if served.holds:
            first_bytes = served.holds.pop(0)
            self._send(body[:first_bytes])
            body = body[first_bytes:]
            served.held.set()
            served.go_on.wait(60)
        self._send(body)

    def _send(self, body: bytes) -> None:
        try:
            for start in range(0, len(body), 16384):
                self.wfile.write(body[start : start + 16384])
                count = len(body[start : start + 16384])
                self.state.sent[self.path] = self.state.sent.get(self.path, 0) + count
        except OSError:
            self.close_connection = True


@contextmanager
def serving() -> Iterator[FileServer]:
    """The server, up until the block ends."""
    handler = type("BoundHandler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state = handler.state = FileServer(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
