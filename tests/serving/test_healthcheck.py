"""The containers' health check, against a worker and against nobody."""

import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from serving import FakeTasks, fake_services, live

from ml_target.__main__ import main

OFF = ("clip.visual", "clip.textual", "facial-recognition", "ocr")


class Pong(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"pong")


@pytest.mark.parametrize(("off", "code", "words"), [((), 0, "pong\n"), (OFF, 1, "idle: see /status\n")])
def test_it_says_what_the_worker_says(
    off: tuple[str, ...], code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with live(lambda _: fake_services(FakeTasks(), off=off)) as (client, worker):
        while worker.state == "loading":
            client.get("/ping")
        monkeypatch.setenv("IMMICH_PORT", str(client.base_url.port))
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        assert (main(["healthcheck"]), capsys.readouterr().out) == (code, words)


def test_a_worker_on_one_address_is_asked_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with HTTPServer(("127.0.0.2", 0), Pong) as server:
        Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setenv("IMMICH_HOST", "127.0.0.2")
        monkeypatch.setenv("IMMICH_PORT", str(server.server_port))
        assert main(["healthcheck"]) == 0
    assert capsys.readouterr().out == "pong\n"


def test_nobody_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("IMMICH_PORT", str(port))
    assert main(["healthcheck"]) == 1
    assert capsys.readouterr().out.startswith(f"no answer on 127.0.0.1 port {port}: ")


def test_a_setting_that_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("IMMICH_PORT", "many")
    assert main(["healthcheck"]) == 1
    assert "IMMICH_PORT=many" in capsys.readouterr().out
