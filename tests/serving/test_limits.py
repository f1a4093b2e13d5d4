"""Limits on size, pixels, time and queue, over real HTTP; states and faults of the worker."""

import asyncio
import gc
import io
import json
import logging
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pictures import picture
from serving import FakeTasks, fake_services, live
from wire import CLIP, FACES, OCR, ask, form_body, search

from ml_target.config import Settings
from ml_target.errors import DeviceError, EngineFault, ModelError, Unavailable
from ml_target.runtime.budget import Budget
from ml_target.runtime.lifecycle import Worker
from ml_target.runtime.registry import Services
from ml_target.scheduling.threads import ThreadPool


def test_an_upload_over_the_limit_is_refused_before_it_is_read() -> None:
    settings = Settings(engine="cpu", max_upload_mb=1)
    with live(lambda _: fake_services(FakeTasks()), settings) as (client, _worker):
        small, large = picture(width=300, height=300, form="BMP"), picture(width=700, height=700, form="BMP")
        assert ask(client, CLIP, small).status_code == 200
        answer = ask(client, CLIP, large)
        assert answer.status_code == 413
        assert answer.json()["detail"].startswith("The upload exceeds 1 MiB.")
        assert "MAX_UPLOAD_MB" in answer.json()["detail"]
        assert ask(client, CLIP, small).status_code == 200


def test_a_chunked_upload_over_the_limit_is_refused_on_the_way() -> None:
    settings = Settings(engine="cpu", max_upload_mb=1)
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="image"; filename="blob"\r\n\r\n'
        for _ in range(200):
            sent += 65536
            yield bytes(65536)

    with live(lambda _: fake_services(FakeTasks()), settings) as (client, _worker):
        answer = client.post("/predict", content=endless(), headers={"content-type": "multipart/form-data; boundary=b"})
        assert answer.status_code == 413
        assert "MAX_UPLOAD_MB" in answer.json()["detail"]
        assert sent > 2**20
        assert client.get("/ping").status_code == 200


def raw_request(client: httpx.Client, head: str, body: bytes) -> bytes:
    """The answer to bytes of a request that no client library would send."""
    host, port = client.base_url.host, client.base_url.port
    assert port is not None
    with socket.create_connection((host, port), timeout=30) as connection:
        connection.sendall(f"POST /predict HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + body)
        answer = b""
        while not answer.endswith(b"}"):
            piece = connection.recv(65536)
            assert piece, f"closed after {answer!r}"
            answer += piece
    return answer


def test_two_lengths_are_refused_at_once() -> None:
    head = "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 1\r\nTransfer-Encoding: chunked"
    with live(lambda _: fake_services(FakeTasks())) as (client, _worker):
        answer = raw_request(client, head, b"100000\r\n")
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"Send one of them" in answer
        assert ask(client, CLIP).status_code == 200


@pytest.mark.parametrize("field", ["text", "entries"])
@pytest.mark.parametrize("filename", [None, "t"])
def test_endless_fields_are_refused_on_the_way(field: str, filename: str | None) -> None:
    with live(lambda _: fake_services(FakeTasks())) as (client, _worker):
        answer = client.post("/predict", files=[(field, (filename, b"\xff" * 20_000_000))])
        assert answer.status_code == (413 if field == "text" else 422)
        assert "more than" in answer.json()["detail"]
        assert ask(client, CLIP).status_code == 200


@pytest.mark.parametrize("charset", ["punycode", "undefined"])
def test_a_charset_that_cannot_decode_is_refused(charset: str) -> None:
    with live(lambda _: fake_services(FakeTasks())) as (client, _worker):
        body = b'--b\r\nContent-Disposition: form-data; name="entries"\r\n\r\n{}\r\n--b--\r\n'
        kind = f"multipart/form-data; boundary=b; charset={charset}"
        answer = client.post("/predict", content=body, headers={"content-type": kind})
        assert answer.status_code == 422
        assert "Send UTF-8" in answer.json()["detail"]


def test_chunks_of_one_byte_leave_time_for_others() -> None:
    """Each chunk costs its parser as much as a large one; they are read a few at a time."""
    body = form_body("b", [('name="entries"', json.dumps(CLIP).encode()), ('name="other"', bytes(30_000))])

    def single() -> Iterator[bytes]:
        for number in range(len(body)):
            yield body[number : number + 1]

    chunks = b"".join(b"1\r\n%b\r\n" % byte for byte in single()) + b"0\r\n\r\n"
    head = "Content-Type: multipart/form-data; boundary=b\r\nTransfer-Encoding: chunked"
    with live(lambda _: fake_services(FakeTasks())) as (client, _worker), ThreadPoolExecutor(1) as pool:
        sending = pool.submit(raw_request, client, head, chunks)
        pings = []
        while not sending.done():
            pings.append(client.get("/ping").elapsed.total_seconds())
        assert b'"detail"' in sending.result()
        assert len(pings) > 2, "they had no turn between the chunks"
        assert sorted(pings)[len(pings) // 2] < 0.2


def test_pixels_over_the_limit_are_refused_at_once() -> None:
    with live(lambda _: fake_services(FakeTasks()), Settings(engine="cpu", max_pixels=5000)) as (client, _worker):
        answer = ask(client, CLIP, picture(width=100, height=51))
        assert answer.status_code == 413
        assert "100 x 51 pixels, more than 5,000" in answer.json()["detail"]
        assert answer.elapsed.total_seconds() < 2
        assert ask(client, CLIP, picture(width=100, height=50)).status_code == 200


def test_an_upload_that_stops_coming_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.api.body.PACE_S", 0.3)
    with live(lambda _: fake_services(FakeTasks())) as (client, _worker):
        host, port = client.base_url.host, client.base_url.port
        assert port is not None
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            )
            assert b" 408 " in connection.recv(1000)


def test_uploads_wait_for_room_and_queries_never_do() -> None:
    async def scenario() -> None:
        budget = Budget(1000)
        async with budget.hold(1000) as share:
            waiting = asyncio.create_task(_hold(budget, 300))
            await asyncio.sleep(0.01)
            assert not waiting.done()
            share.shrink(600)
            await asyncio.sleep(0.01)
            assert waiting.done()
        assert budget.free == 1000

    asyncio.run(scenario())


async def _hold(budget: Budget, amount: int) -> None:
    async with budget.hold(amount):
        pass


def test_work_that_has_begun_is_waited_for_before_its_room_is_given_back() -> None:
    async def scenario() -> None:
        host = ThreadPool(1)
        begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            may_end.wait(10)
            ended.set()

        running = asyncio.create_task(host.run(work))
        dropped = asyncio.create_task(host.run(work))
        await asyncio.to_thread(begun.wait, 10)
        dropped.cancel()
        running.cancel()
        await asyncio.sleep(0.05)
        assert not running.done()
        may_end.set()
        for task in (running, dropped):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert ended.is_set()
        host.close()

    asyncio.run(scenario())


def test_a_photo_begins_when_nothing_of_those_before_it_is_left_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    begin = ThreadPool.begin

    async def noted(pool: ThreadPool, function: Any, *given: Any) -> Any:
        begun.append(function.__name__)
        return await begin(pool, function, *given)

    monkeypatch.setattr(ThreadPool, "begin", noted)
    with live(lambda _: fake_services(FakeTasks())) as (client, _worker):
        assert ask(client, CLIP, picture(width=30, height=30)).status_code == 200
    assert begun == ["decode_known"], "decoding lets all other work pass"


def test_log_lines_cannot_be_forged(caplog: pytest.LogCaptureFixture) -> None:
    name = "a\n2026-01-01 ERROR root: FORGED\x1b[31m"
    with live(lambda _: fake_services(FakeTasks())) as (client, _worker), caplog.at_level(logging.WARNING):
        ask(client, {"clip": {"visual": {"modelName": name}}})
        ask(client, {"x\ny" * 9000: 1})
    assert "FORGED" in caplog.text
    assert all("\n" not in r.getMessage() and "\x1b" not in r.getMessage() for r in caplog.records)
    assert all(len(r.getMessage()) < 3000 for r in caplog.records)


def test_a_deadline_ends_a_request_and_frees_its_place() -> None:
    tasks = FakeTasks(delay=20)
    with live(lambda _: fake_services(tasks), Settings(engine="cpu", request_timeout_s=0.5)) as (client, _worker):
        answer = ask(client, CLIP)
        assert answer.status_code == 503
        assert "Not answered within 0.5 s" in answer.json()["detail"]
        assert (tasks.running, tasks.cancelled) == (0, 1)
        tasks.delay = 0
        assert ask(client, CLIP).status_code == 200


def test_a_full_queue_refuses_and_says_so() -> None:
    tasks = FakeTasks(delay=1)
    with live(lambda _: fake_services(tasks), Settings(engine="cpu", max_waiting=3)) as (client, _worker):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda seed: ask(client, CLIP, picture(seed)), range(8)))
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [200] * 3 + [503] * 5
        refused = next(answer for answer in answers if answer.status_code == 503)
        assert "3 requests are waiting already" in refused.json()["detail"]
        assert "MAX_WAITING" in refused.json()["detail"]
        assert ask(client, CLIP).status_code == 200


def test_a_task_that_is_off_is_a_503_that_says_why() -> None:
    services = fake_services(FakeTasks(), off=("facial-recognition", "clip.textual"))
    with live(lambda _: services) as (client, _worker):
        answer = ask(client, FACES)
        assert answer.status_code == 503
        assert answer.json()["detail"] == "facial-recognition is off: no such file. Put it into the models folder."
        assert search(client, "a cat").status_code == 503
        assert ask(client, OCR).status_code == 200
        assert ask(client, {**OCR, **FACES}).status_code == 503, "half an answer is no answer"
        status = client.get("/status").json()
        assert status["ready"] is True
        assert status["tasks"]["facial-recognition"]["on"] is False
        assert status["tasks"]["facial-recognition"]["why"].startswith("no such file")
        assert status["tasks"]["ocr"]["on"] is True


def test_a_worker_that_serves_nothing_is_not_ready() -> None:
    off = ("facial-recognition", "clip.textual", "clip.visual", "ocr")
    with live(lambda _: fake_services(FakeTasks(), off=off)) as (client, _worker):
        deadline = time.monotonic() + 5
        while client.get("/status").json()["state"] == "loading" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert client.get("/ping").status_code == 503
        assert client.get("/status").json()["state"] == "idle"
        assert ask(client, OCR).status_code == 503


@pytest.mark.parametrize(
    ("fault", "reason", "remedy"),
    [
        (DeviceError("the card is held", "Stop what holds it."), "the card is held", "Stop what holds it."),
        (ModelError("a file is of another network"), "a file is of another network", "Its log has the details: please"),
        (ZeroDivisionError("division by zero"), "division by zero", "Its log has the details: please report it."),
    ],
)
def test_a_worker_that_could_not_start_says_why_and_what_to_do(fault: Exception, reason: str, remedy: str) -> None:
    def broken(_: Worker) -> Services:
        raise fault

    async def asked() -> None:
        worker = Worker(Settings(engine="cpu"), broken)
        try:
            await worker.load()
            with pytest.raises(Unavailable) as caught:
                async with worker.pipeline():
                    pass
        finally:
            worker.close()
        assert caught.value.reason == f"The worker could not start: {reason}"
        assert caught.value.remedy.startswith(remedy)

    asyncio.run(asked())


def test_an_engine_fault_is_a_500_and_an_accident_hides_nothing_but_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = FakeTasks()
    with live(lambda _: fake_services(tasks)) as (client, _worker):
        tasks.fail_with = EngineFault("scrfd failed. Report it.")
        answer = ask(client, FACES)
        assert (answer.status_code, answer.json()) == (500, {"detail": "scrfd failed. Report it."})
        tasks.fail_with = ZeroDivisionError("secret")
        with caplog.at_level(logging.ERROR):
            answer = ask(client, FACES)
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "ZeroDivisionError: secret" in caplog.text
        tasks.fail_with = None
        assert ask(client, FACES).status_code == 200


def test_out_of_memory_is_ours() -> None:
    tasks = FakeTasks()
    with live(lambda _: fake_services(tasks)) as (client, _worker):
        tasks.fail_with = MemoryError()
        answer = ask(client, OCR)
        assert answer.status_code == 503
        assert "no memory left" in answer.json()["detail"]
        assert "HOST_THREADS" in answer.json()["detail"]
        tasks.fail_with = None
        assert ask(client, OCR).status_code == 200


def test_accidents_of_other_pages_are_json_too(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Worker) -> None:
        raise ZeroDivisionError("secret")

    with live(lambda _: fake_services(FakeTasks())) as (client, _worker), caplog.at_level(logging.ERROR):
        monkeypatch.setattr(Worker, "status", broken)
        answer = client.get("/status")
        assert answer.status_code == 500
        assert "please report it" in answer.json()["detail"]
        assert "secret" not in answer.text
    assert caplog.text.count("ZeroDivisionError: secret") == 1


class Bulk:
    """Something large that a frame of a failed request holds."""


def test_a_failed_request_holds_nothing() -> None:
    """Without help from the collector: errors, their frames and the tasks between them hold each other in circles."""
    held: list[weakref.ref[Bulk]] = []

    class Failing(FakeTasks):
        async def find(self, picture: Any, min_score: float, trace: Any) -> Any:
            bulk = Bulk()
            held.append(weakref.ref(bulk))
            try:
                raise self.error
            except ValueError as error:
                raise EngineFault("failed. Try again.") from error

        error: Exception = ValueError()

    tasks = Failing()
    with live(lambda _: fake_services(tasks)) as (client, _worker):
        gc.disable()
        try:
            for error, status in ((ValueError(), 500), (MemoryError(), 503), (Unavailable("off"), 503)):
                tasks.error = error
                assert ask(client, FACES).status_code == status
            del error, tasks.error
            assert [reference() for reference in held] == [None] * 3
        finally:
            gc.enable()


def pictures_held() -> int:
    """Uploads of a megabyte and more that something still holds."""
    # By their type: asking other objects for their class wakes their warnings.
    uploads = [each for each in gc.get_objects() if type(each) is io.BytesIO]
    return sum(not upload.closed and upload.getbuffer().nbytes > 10**6 for upload in uploads)


@pytest.mark.slow
def test_no_upload_outlives_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answered, refused, cut, given up, late, abandoned: its memory is free at once, without the collector."""
    monkeypatch.setattr("ml_target.api.body.PACE_S", 1)
    tasks = FakeTasks()
    big = picture(1, 700, 700, "BMP")
    image = 'name="image"; filename="i"'
    entries = ('name="entries"', json.dumps(CLIP).encode())
    whole = form_body("b", [entries, (image, big)])
    refused = form_body("b", [entries, (image, big), ('name="text"', b"x" * 10**6)])
    head = f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(whole)}"
    with live(lambda _: fake_services(tasks), Settings(engine="cpu", request_timeout_s=5)) as (client, _worker):
        host, port = client.base_url.host, client.base_url.port
        kind = {"content-type": "multipart/form-data; boundary=b"}
        gc.collect()
        gc.disable()
        try:
            assert client.post("/predict", content=whole, headers=kind).status_code == 200
            assert client.post("/predict", content=refused, headers=kind).status_code == 413
            assert client.post("/predict", content=whole[:-9], headers=kind).status_code == 400
            assert b" 408 " in raw_request(client, head, whole[:-9])
            with socket.create_connection((host, port or 0), timeout=10) as connection:
                connection.sendall(f"POST /predict HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode() + whole[:-9])
                end = time.monotonic() + 0.9
                while not pictures_held() and time.monotonic() < end:
                    time.sleep(0.02)
                assert pictures_held() == 1
            tasks.delay = 30
            assert client.post("/predict", content=whole, headers=kind).status_code == 503
            with pytest.raises(httpx.ReadTimeout):
                client.post("/predict", content=whole, headers=kind, timeout=0.5)
            end = time.monotonic() + 10
            while pictures_held() and time.monotonic() < end:
                time.sleep(0.05)
            assert pictures_held() == 0
        finally:
            gc.enable()


def test_no_refusal_shows_a_place_in_memory() -> None:
    with live(lambda _: fake_services(FakeTasks())) as (client, _worker):
        for data in (b"", b"x", bytes(1000), b"GIF89a", b"\x89PNG\r\n\x1a\n" + bytes(50), picture()[:200]):
            answer = ask(client, CLIP, data)
            assert answer.status_code == 400
            assert "0x" not in answer.text
            assert "object at" not in answer.text


def test_requests_are_held_while_the_worker_loads() -> None:
    may_load = threading.Event()

    def load(_: Worker) -> Services:
        assert may_load.wait(20)
        return fake_services(FakeTasks())

    with live(load) as (client, _worker), ThreadPoolExecutor(1) as pool:
        assert client.get("/ping").status_code == 503
        assert client.get("/status").json()["state"] == "loading"
        held = pool.submit(ask, client, CLIP)
        time.sleep(0.3)
        assert not held.done()
        may_load.set()
        assert held.result().status_code == 200
        assert client.get("/ping").status_code == 200


def test_a_worker_that_cannot_start_stops_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    def load(_: Worker) -> Services:
        raise ModelError("scrfd_2.5g.onnx is damaged. Fetch it again.")

    with caplog.at_level(logging.CRITICAL), live(load) as (_client, worker):
        deadline = time.monotonic() + 10
        while worker.state != "failed" and time.monotonic() < deadline:
            time.sleep(0.01)
    assert worker.state == "failed"
    assert "The worker stops: scrfd_2.5g.onnx is damaged. Fetch it again." in caplog.text
    assert "Traceback" not in caplog.text


def test_each_request_leaves_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with live(lambda _: fake_services(FakeTasks())) as (client, _worker), caplog.at_level(logging.INFO):
        ask(client, {**CLIP, **FACES})
        ask(client, CLIP, b"no picture")
        client.get("/ping")
    lines = [r.getMessage() for r in caplog.records if r.name == "ml_target.request"]
    assert len(lines) == 2
    served = dict(part.split("=", 1) for part in lines[0].split()[1:])
    assert served["outcome"] == "200"
    assert served["tasks"] == "clip.visual,facial-recognition"
    assert served["picture"] == "64x48"
    assert served["faces"] == "2"
    assert {"receive_ms", "decode_ms", "clip.infer_ms", "total_ms"} <= served.keys()
    assert "outcome=400" in lines[1]
    assert json.loads(lines[1].split("detail=", 1)[1]).startswith("The upload is not a picture")


def test_names_are_announced_once(caplog: pytest.LogCaptureFixture) -> None:
    with live(lambda _: fake_services(FakeTasks())) as (client, _worker), caplog.at_level(logging.WARNING):
        for _ in range(3):
            ask(client, CLIP)
        names = client.get("/status").json()["names"]
    assert names == [{"task": "clip.visual", "asked": "ViT-B-32__openai", "served_by": "tinyclip"}]
    assert caplog.text.count("Immich asks for ViT-B-32__openai") == 1


def test_auto_picks_the_backend_by_name() -> None:
    with live(lambda _: fake_services(FakeTasks(), backend="auto")) as (client, _worker):

        def served(name: str) -> int:
            return ask(client, {"clip": {"visual": {"modelName": name}}}).status_code

        assert served("ViT-B-16-SigLIP__webli") == 200
        assert served("ViT-B-32-SigLIP2-256__webli") == 200
        assert served("RN101__openai") == 200
        assert served("a-model-nobody-knows") == 400, "it may mean any of them"
        assert served("ViT-L-14__openai") == 400, "768 numbers, but of no space that is served"
        assert served("RN50__openai") == 400
        by = {n["asked"]: n["served_by"] for n in client.get("/status").json()["names"]}
    assert by["ViT-B-16-SigLIP__webli"] == "ViT-B-16-SigLIP__webli"
    assert by["ViT-B-32-SigLIP2-256__webli"] == "ViT-B-32-SigLIP2-256__webli"
    assert by["RN101__openai"] == "tinyclip"


# ------------------------------------------------------------------- budgets


def test_a_budget_serves_in_turn_and_never_overspends() -> None:
    async def scenario() -> list[str]:
        budget, order = Budget(10), []

        async def use(name: str, amount: int) -> None:
            async with budget.hold(amount):
                assert budget.free >= 0
                order.append(name)
                await asyncio.sleep(0.01)

        await asyncio.gather(use("a", 6), use("b", 6), use("huge", 1000), use("c", 1), use("d", 1))
        assert budget.free == budget.total
        return order

    assert asyncio.run(scenario()) == ["a", "b", "huge", "c", "d"]


def test_a_budget_survives_those_who_leave_the_queue() -> None:
    async def scenario() -> None:
        budget = Budget(1)

        async def use() -> None:
            async with budget.hold(1):
                await asyncio.sleep(0.05)

        users = [asyncio.create_task(use()) for _ in range(5)]
        await asyncio.sleep(0.01)
        for leaving in (users[1], users[3]):
            leaving.cancel()
        ended = await asyncio.gather(*users, return_exceptions=True)
        assert sum(isinstance(e, asyncio.CancelledError) for e in ended) == 2
        assert budget.free == 1

    asyncio.run(scenario())
