"""Connections that bring no request, take no answer, or are too many."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pictures import picture
from serving import FakeTasks, fake_services, live
from slow_worker import slow_worker
from wire import CLIP, FACES, OCR, ask, form_body

from ml_target.api.connections import Connection
from ml_target.api.serve import DESCRIPTORS, KEPT_IDLE, most_connections
from ml_target.config import Settings
from ml_target.tasks.faces.finder import Face

WAIT_S = 20
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


def connect(client: httpx.Client, sent: bytes = b"") -> socket.socket:
    host, port = client.base_url.host, client.base_url.port
    assert port is not None
    connection = socket.create_connection((host, port), timeout=WAIT_S)
    connection.sendall(sent)
    return connection


def closed(connection: socket.socket) -> bool:
    """Whether the worker closes it, within the timeout, without a word."""
    try:
        return connection.recv(1000) == b""
    except ConnectionError:
        return True


@contextmanager
def worker(delay: float = 0, **settings: Any) -> Iterator[httpx.Client]:
    chosen = Settings(engine="cpu", **settings)
    with live(lambda _: fake_services(FakeTasks(delay)), chosen) as (client, _worker):
        yield client


def request(body: bytes, size: int | None = None) -> bytes:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % (len(body) if size is None else size) + body


def test_a_head_that_is_never_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """However its bytes trickle, on a new connection or on one that has been used."""
    monkeypatch.setattr("ml_target.api.connections.HEAD_S", 0.5)
    with worker() as client, connect(client, b"GET /") as new, connect(client, PING) as used:
        assert used.recv(1000).startswith(b"HTTP/1.1 200")
        used.sendall(b"GET /")
        for connection in (new, used):
            end = time.monotonic() + WAIT_S
            with pytest.raises(ConnectionError):  # noqa: PT012
                while time.monotonic() < end:
                    connection.sendall(b"x")
                    time.sleep(0.05)


@pytest.mark.parametrize(
    ("header", "after"),
    [(b"", PING), (b"Connection: close\r\n", b"\r\n"), (b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"")],
    ids=["a request behind it", "a line behind it", "another protocol proposed"],
)
def test_a_client_that_goes_is_seen_to_go(header: bytes, after: bytes) -> None:
    """Also where the parser has stopped reading: behind a whole request, and before another protocol."""
    body = form_body("b", [('name="entries"', json.dumps(CLIP).encode()), ('name="image"; filename="i"', picture())])
    head, _, content = request(body).partition(b"\r\n\r\n")
    tasks = FakeTasks(delay=30)
    with live(lambda _: fake_services(tasks)) as (client, _worker):
        with connect(client, head + b"\r\n" + header + b"\r\n") as connection:
            time.sleep(0.1)  # the worker waits for the body
            connection.sendall(content)
            _until(lambda: tasks.running)
            connection.sendall(after)
            time.sleep(0.1)
        _until(lambda: tasks.cancelled)


def test_an_answer_is_one_packet() -> None:
    """Its head would wake the client for nothing, and both ends work for each packet."""
    with worker() as client, connect(client) as connection:
        for count in (1, 2, 3):
            connection.sendall(PING)
            assert connection.recv(1000).endswith(b"pong")
            told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 200)
            assert int.from_bytes(told[152:156], "little") == count  # tcpi_data_segs_in of linux/tcp.h


def test_what_follows_a_request_costs_it_no_answer() -> None:
    body = form_body("b", [('name="entries"', json.dumps(CLIP).encode()), ('name="image"; filename="i"', picture())])
    head, _, content = request(body).partition(b"\r\n\r\n")
    with worker(delay=0.3) as client:
        for header in (b"", b"Connection: close\r\n"):
            with connect(client, head + b"\r\n" + header + b"\r\n" + content) as connection:
                time.sleep(0.1)
                connection.sendall(b"\r\n")
                answer = _all_of(connection)
            assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
            assert answer.count(b"HTTP/1.1") == 1


def _all_of(connection: socket.socket) -> bytes:
    """What the worker sends until it closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def _until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_connection_without_a_byte_is_closed() -> None:
    with worker(keep_alive_s=1) as client, connect(client) as silent:
        assert closed(silent)


def test_slow_bodies_and_slow_answers_are_no_idle_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.api.connections.HEAD_S", 0.3)
    body = form_body("b", [('name="entries"', json.dumps(CLIP).encode()), ('name="image"; filename="i"', picture())])
    with worker(delay=1, keep_alive_s=1) as client, connect(client, request(body)[:300]) as slow:
        time.sleep(0.8)
        slow.sendall(request(body)[300:])
        assert slow.recv(1000).startswith(b"HTTP/1.1 200")


def test_who_goes_on_sending_after_a_refusal_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.api.guard.DROP_S", 0.3)
    monkeypatch.setattr("ml_target.api.connections.HEAD_S", 0.3)
    with worker(max_upload_mb=1) as client, connect(client, request(b"", 10**9)) as stubborn:
        end = time.monotonic() + WAIT_S
        with pytest.raises(ConnectionError):  # noqa: PT012
            while time.monotonic() < end:
                stubborn.sendall(bytes(1000))
                time.sleep(0.01)


def test_a_refusal_reaches_who_wants_the_connection_closed() -> None:
    """As a proxy asks for it. Closed with bytes unread, the connection would be reset, and the answer lost."""
    size = 3 * 2**20
    head = request(b"", size).replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")
    with worker(max_upload_mb=1) as client, connect(client, head) as proxy:
        answer = proxy.recv(1000)
        for _ in range(size // 2**16):
            proxy.sendall(bytes(2**16))
            time.sleep(0.001)  # a connection that was closed takes the first of them, and resets at the next
        while piece := proxy.recv(1000):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(b'MAX_UPLOAD_MB."}')


def test_a_refused_body_is_dropped_and_the_connection_goes_on() -> None:
    """The answer comes at once; who sends first and reads then finds it, and may ask again."""
    with worker(max_upload_mb=1) as client, connect(client, request(b"", 3 * 2**20)) as patient:
        answer = patient.recv(1000)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" not in answer
        patient.sendall(bytes(3 * 2**20) + PING)
        while b"pong" not in answer:
            piece = patient.recv(1000)
            assert piece, answer
            answer += piece


def test_who_takes_no_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.api.connections.UNREAD_S", 0.5)
    tasks, cut_off, abort = FakeTasks(), threading.Event(), Connection.abort

    def noted(connection: Connection) -> None:
        abort(connection)
        cut_off.set()

    monkeypatch.setattr(Connection, "abort", noted)

    async def crowd(*_: Any) -> list[Face]:
        face = Face((1, 1, 5, 5), 0.9, np.zeros((5, 2), np.float32), np.random.default_rng(1).random(512, np.float32))
        return [face] * 3000  # more than the system takes in for a client that reads nothing

    monkeypatch.setattr(tasks, "find", crowd)
    body = form_body("b", [('name="entries"', json.dumps(FACES).encode()), ('name="image"; filename="i"', picture())])
    with live(lambda _: fake_services(tasks)) as (client, _worker), connect(client, request(body)) as deaf:
        assert cut_off.wait(WAIT_S)
        head, _, content = deaf.recv(2**20).partition(b"\r\n\r\n")
        announced = int(head.lower().partition(b"content-length:")[2].split()[0])
        came = len(content)
        while piece := deaf.recv(2**20):
            came += len(piece)
        assert came < announced


def test_requests_before_the_answer_are_not_gathered() -> None:
    """Whoever sends the next request before the answer to the last one gets that answer, and no further one."""
    with worker(delay=0.3) as client, connect(client) as hasty:
        body = form_body(
            "b", [('name="entries"', json.dumps(CLIP).encode()), ('name="image"; filename="i"', picture())]
        )
        hasty.sendall(request(body) + PING * 3)
        answer = b""
        while piece := hasty.recv(65536):
            answer += piece
        assert answer.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in answer.lower() or b"pong" not in answer


def test_the_one_that_waits_longest_makes_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ml_target.api.serve.most_connections", lambda _: 3)
    with worker(delay=30) as client, ExitStack() as opened:
        first, second, third = (opened.enter_context(connect(client, b"GET /")) for _ in range(3))
        time.sleep(0.2)
        assert client.get("/ping").status_code == 200
        assert closed(first)
        second.sendall(b"ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert second.recv(1000).startswith(b"HTTP/1.1 200")
        third.sendall(b"ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert third.recv(1000).startswith(b"HTTP/1.1 200")
    assert caplog.text.count("connections are open") == 1


def test_a_refused_body_makes_room_for_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.api.serve.most_connections", lambda _: 1)
    head = request(b"", 3 * 2**20).replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")
    with worker(max_upload_mb=1) as client, connect(client, head) as refused:
        assert refused.recv(1000).startswith(b"HTTP/1.1 413 ")
        with connect(client, PING) as late:
            assert late.recv(1000).startswith(b"HTTP/1.1 200")


def test_when_all_are_busy_new_ones_are_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.api.serve.most_connections", lambda _: 2)
    body = form_body("b", [('name="entries"', json.dumps(OCR).encode()), ('name="image"; filename="i"', picture())])
    with worker(delay=30) as client, connect(client, request(body)), connect(client, request(body)):
        time.sleep(0.5)
        with connect(client) as late:
            answer = b""
            while piece := late.recv(1000):
                answer += piece
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert "connections" in json.loads(content)["detail"]


@pytest.mark.parametrize(
    ("allowed", "most"), [(-1, 10 + KEPT_IDLE), (10**6, 10 + KEPT_IDLE), (500, 500 - DESCRIPTORS), (100, 16)]
)
def test_connections_follow_the_descriptors(monkeypatch: pytest.MonkeyPatch, allowed: int, most: int) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (allowed, allowed))
    assert most_connections(10) == most


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
def test_without_descriptors_it_neither_spins_nor_floods_the_log() -> None:
    """More connections than descriptors: one line, little work, and others are still served."""
    too_many = {"ml_target.api.serve.MIN_CONNECTIONS": 1000}
    with slow_worker(descriptors=60, constants=too_many) as process, ExitStack() as opened:
        address = ("127.0.0.1", process.port)
        for _ in range(150):
            opened.enter_context(socket.create_connection(address, timeout=WAIT_S))
        time.sleep(1)  # until it has met them all: nothing tells that
        before = processor_seconds(process.process.pid)
        time.sleep(3)  # real seconds, in which a process that spins takes processor time, and writes lines
        assert processor_seconds(process.process.pid) - before < 1.5
        assert process.log.count("no connection can be accepted") == 1
        assert process.log.count("\n") < 40, process.log
        assert "Traceback" not in process.log
        opened.close()
        end = time.monotonic() + WAIT_S
        while process.answers("/ping") != 200:
            assert time.monotonic() < end


def test_requests_are_served_while_others_hold_connections() -> None:
    with slow_worker(descriptors=260) as process, ExitStack() as opened:
        for _ in range(200):
            opened.enter_context(socket.create_connection(("127.0.0.1", process.port), timeout=WAIT_S))
        with httpx.Client(base_url=process.url, timeout=WAIT_S, verify=False) as client:
            assert ask(client, CLIP).status_code == 200
        assert process.log.count("connections are open") == 1
