"""What the report says of the worker that runs here, and of its log."""

import http.server
import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from report_run import NOON
from serving import FakeTasks, fake_services, live
from worker_process import free_port

from ml_target.config import Settings
from ml_target.diagnostics.redact import Redactor
from ml_target.diagnostics.report import log as report_log
from ml_target.diagnostics.report import markdown
from ml_target.diagnostics.report import worker as report_worker
from ml_target.diagnostics.report.log import log_section
from ml_target.diagnostics.report.worker import ask, request_times, worker_section
from ml_target.log.ring import LIMIT, LogRing, keep_last_lines, kept_logs


def test_without_a_worker(tmp_path: Path) -> None:
    answer = ask(Settings(host="127.0.0.1", port=free_port()))
    assert not answer.reached
    assert "No worker answers here" in worker_section(answer).text


@contextmanager
def another_program() -> Iterator[int]:
    """Something else on a port, which answers everything with its own page."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"message": "something else"}')

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def test_another_program_on_the_port_is_told() -> None:
    with another_program() as port:
        answer = ask(Settings(host="127.0.0.1", port=port))
        assert answer.reached
        assert not answer.ours
        assert worker_section(answer).wrong == [
            f"another program listens on 127.0.0.1 port {port}: set IMMICH_PORT to a free port, or stop it"
        ]


def test_the_running_worker_is_asked_and_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_worker, "CELL_S", 0.05)
    tasks = FakeTasks()
    with live(lambda _: fake_services(tasks, off=("ocr",))) as (client, _):
        deadline = time.monotonic() + 30
        while client.get("/ping").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        settings = Settings(host="127.0.0.1", port=client.base_url.port or 0)
        answer = ask(settings)
        told = worker_section(answer)
        assert answer.ready
        assert told.right == [
            "the worker here is ready on engine cpu, with clip.visual, clip.textual, facial-recognition"
        ]
        assert told.wrong == ["ocr is off: no such file. Put it into the models folder."]
        assert "names_of_this_width" not in told.text
        times = request_times(settings, answer, print)
        assert times.wrong == []
        rows = [line.split() for line in times.text.splitlines()[1:]]
        wanted = ("clip.visual", "clip.textual", "facial-recognition")
        assert [row[:2] for row in rows] == [[task, clients] for task in wanted for clients in ("1", "8", "16")]
        assert all(float(rate) > 0 and float(p50) <= float(p95) for _, _, rate, p50, p95 in rows)
        assert tasks.most_running >= 2, "eight at once"
        tasks.fail_with = RuntimeError("broken")
        failed = request_times(settings, answer, print)
        assert len(failed.wrong) == 3
        assert "status 500" in failed.wrong[0]


@pytest.fixture
def ring() -> Iterator[LogRing]:
    made = LogRing(free_port())
    yield made
    made.close()


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, __file__, 1, text, (), None)


def test_the_ring_keeps_the_start_and_the_end(ring: LogRing) -> None:
    for number in range(20_000):
        ring.handle(record(f"line {number}"))
    ring.handle(record("x" * 100_000))
    size = os.fstat(ring._file).st_size
    assert size == ring._size <= LIMIT
    text = os.pread(ring._file, size, 0).decode()
    lines = text.splitlines()
    assert lines[:3] == ["line 0", "line 1", "line 2"]
    assert "[lines left out]" in lines
    assert lines[-2] == "line 19999"
    assert lines[-1].endswith("x [cut]")
    assert all(re.fullmatch(r"line \d+|\[lines left out\]|x+ \[cut\]", line) for line in lines), "no line is torn"


def test_a_log_is_found_by_its_port_and_goes_with_its_owner(ring: LogRing) -> None:
    ring.handle(record("hello"))
    port = int(str(Path(f"/proc/self/fd/{ring._file}").readlink()).rpartition("-")[2].partition(" ")[0])
    assert (port, os.getpid(), "hello\n") in list(kept_logs())
    assert not os.get_inheritable(ring._file), "a helper process must not keep it"
    ring.close()
    assert port not in [at for at, _, _ in kept_logs()]


def test_without_such_memory_the_worker_serves_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refuse)
    before = list(logging.getLogger().handlers)
    keep_last_lines(1)
    assert logging.getLogger().handlers == before


def test_a_log_that_is_given(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("2026-11-26 18:00:00,000 ERROR ml_target.scheduling.arbiter: the card is lost\nlast\n")
    told = log_section(str(file), 1)
    assert told.text.endswith("last")
    assert told.wrong == ["the log has an error, the last: ml_target.scheduling.arbiter: the card is lost"]


def test_no_log_says_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_log, "kept_logs", lambda: iter(()))
    assert "docker logs --tail 300 immich-ml-hailo" in log_section(None, 1).text


def test_settings_of_json_survive() -> None:
    """The status of a worker may hold anything a client sent."""
    odd = {
        "tasks": {"ocr": "x"},
        "engine": "cpu",
        "clip": "none",
        "names": ["```", "\x1b[31m", "a" * 5000],
        "ready": True,
    }
    answer = report_worker.Answer("127.0.0.1 port 1", True, "200 pong", True, json.loads(json.dumps(odd)))
    told = worker_section(answer)
    text = markdown.as_markdown([told], NOON, Redactor())
    assert "<5" in text
    assert "\x1b" not in text
