"""Stopping a real process: every request inside has its answer and its log line, and the process ends in time."""

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from slow_worker import AT_WORK, SlowWorker, slow_worker
from wire import OCR, ask

EIGHT = 8
PATIENCE = "ml_target.api.server.PATIENCE_S"
LEAVE = "ml_target.api.server.LEAVE_S"


@contextmanager
def requests(worker: SlowWorker, *, begin: bool = True) -> Iterator[list["Future[httpx.Response]"]]:
    """Eight requests inside the worker, all of them at their task if they can `begin`."""
    with ThreadPoolExecutor(EIGHT) as pool, httpx.Client(base_url=worker.url, timeout=60, verify=False) as client:
        asked = [pool.submit(ask, client, OCR) for _ in range(EIGHT)]
        if begin:
            worker.wait_for(AT_WORK, count=EIGHT)
        else:
            time.sleep(1)  # nothing tells that they wait
        yield asked


def ended(worker: SlowWorker, seconds: float) -> None:
    """Checks how the process ends: in time, in good order, without a stack."""
    assert worker.process.wait(seconds) == 0
    worker.hear_all()
    assert "Traceback" not in worker.log, worker.log
    assert "ERROR" not in worker.log, worker.log


def check_503(answers: list["Future[httpx.Response]"]) -> None:
    for answer in answers:
        assert answer.result().status_code == 503
        assert answer.result().json()["detail"].startswith("The worker stops before this request is done.")


@pytest.mark.slow
def test_requests_get_their_own_answers() -> None:
    with slow_worker(delay=2) as worker, requests(worker) as asked:
        worker.process.send_signal(signal.SIGTERM)
        worker.wait_for("stopping, 8 requests left")
        assert worker.answers("/ping") == 0, "nobody new is let in"
        assert [answer.result().status_code for answer in asked] == [200] * EIGHT
        ended(worker, 20)
        assert worker.log.count("outcome=200") == EIGHT


def test_those_left_get_503() -> None:
    with slow_worker(delay=100, constants={PATIENCE: 0.5}) as worker, requests(worker) as asked:
        worker.process.send_signal(signal.SIGTERM)
        check_503(asked)
        ended(worker, 20)
        assert worker.log.count("outcome=503") == EIGHT
        assert "8 requests are answered with 503, as the worker stops" in worker.log


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_waits_for_nothing(stop: signal.Signals) -> None:
    with slow_worker(delay=100, constants={PATIENCE: 60}) as worker, requests(worker) as asked:
        worker.process.send_signal(stop)
        worker.wait_for("stopping, 8 requests left")
        worker.process.send_signal(stop)
        check_503(asked)
        ended(worker, 20)


def test_uploads_on_the_way_get_503() -> None:
    """Three at different places: in the head, in the body, all of it there but the last byte."""
    body = b'--b\r\nContent-Disposition: form-data; name="entries"\r\n\r\n{}\r\n--b--'
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    head += b"Content-Length: %d\r\n\r\n" % (len(body) + 1)
    with slow_worker(constants={PATIENCE: 0.5}) as worker:
        sockets = []
        for sent in (head[:30], head + body[:20], head + body):
            connection = socket.create_connection(("127.0.0.1", worker.port), timeout=20)
            connection.sendall(sent)
            sockets.append(connection)
        time.sleep(0.3)
        worker.process.send_signal(signal.SIGTERM)
        worker.wait_for("stopping, 2 requests left")
        answers = [_all_of(connection) for connection in sockets]
        assert answers[0] == b"", "no request has come of it"
        for answer in answers[1:]:
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b'{"detail":"The worker stops' in answer
        ended(worker, 20)
        assert worker.log.count("outcome=503") == 2


def _all_of(connection: socket.socket) -> bytes:
    with connection:
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


@pytest.mark.slow
def test_stopping_while_loading() -> None:
    """Loading cannot be interrupted: those who wait for it are answered, and the process leaves all the same."""
    with (
        slow_worker(loading=100, constants={PATIENCE: 0.5, LEAVE: 4}) as worker,
        requests(worker, begin=False) as asked,
    ):
        worker.process.send_signal(signal.SIGTERM)
        check_503(asked)
        ended(worker, 20)
        assert "leaves with work undone" in worker.log


@pytest.mark.slow
def test_work_that_cannot_be_interrupted_holds_nobody_up() -> None:
    with slow_worker(stuck=100, constants={PATIENCE: 0.5, LEAVE: 4}, HOST_THREADS="2") as worker:
        with requests(worker, begin=False) as asked:
            worker.process.send_signal(signal.SIGTERM)
            check_503(asked)
        ended(worker, 20)
        assert worker.log.count("outcome=503") == EIGHT


@pytest.mark.slow
def test_a_deadline_does_not_wait_for_work_that_cannot_be_interrupted() -> None:
    with slow_worker(stuck=100, HOST_THREADS="1", REQUEST_TIMEOUT_S="1") as worker:
        started = time.monotonic()
        with httpx.Client(base_url=worker.url, timeout=60, verify=False) as client:
            answer = ask(client, OCR)
        assert answer.status_code == 503
        assert "REQUEST_TIMEOUT_S" in answer.json()["detail"]
        assert time.monotonic() - started < 1 + 2 + 2


def test_an_idle_worker_stops_at_once() -> None:
    with slow_worker() as worker, httpx.Client(base_url=worker.url, verify=False) as client:
        assert client.get("/ping").status_code == 200  # and the connection is kept
        worker.process.send_signal(signal.SIGTERM)
        ended(worker, 5)
        assert "stopping, 0 requests left" in worker.log
