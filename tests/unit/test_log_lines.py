"""The log as text and as JSON, and the stages in an answer's header."""

import io
import json
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from ml_target.__main__ import main
from ml_target.api.guard import fault
from ml_target.api.timing import server_timing
from ml_target.config import Settings
from ml_target.diagnostics.report.log import log_section
from ml_target.errors import SettingsError
from ml_target.log.requests import log_request, set_up, take_uncaught
from ml_target.log.trace import Trace

Begin = Callable[[Literal["text", "json"]], io.StringIO]


@pytest.fixture
def begin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    """Sets the log up, and gives what it writes to; afterwards the log is as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level

    def begun(form: Literal["text", "json"]) -> io.StringIO:
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        set_up(logging.INFO, form)
        return stream

    yield begun
    root.handlers[:] = before
    root.setLevel(level)


class Terminal(io.StringIO):
    """Takes colour, if the log has any."""

    def isatty(self) -> bool:
        return True


def request() -> Trace:
    trace = Trace("0a1b2c3d4e")
    trace.tasks, trace.picture = {"ocr": "ocr"}, (1440, 1920)
    trace.stages = {"ocr.detect": 12.34}
    trace.count("lines", 24)
    return trace


def test_a_request_is_one_line_of_text_with_its_id(begin: Begin) -> None:
    stderr = begin("text")
    log_request(request(), 400, "no such thing", "cpu")
    (line,) = stderr.getvalue().splitlines()
    assert " WARNING ml_target.request: predict outcome=400 tasks=ocr " in line
    assert " id=0a1b2c3d4e picture=1440x1920 lines=24 ocr.detect_ms=12.3 " in line
    assert line.endswith('detail="no such thing"')


def test_a_request_is_one_object_of_json(begin: Begin) -> None:
    stderr = begin("json")
    log_request(request(), 200, None, "cpu")
    line = json.loads(stderr.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line.pop("total_ms") >= 0
    assert line == {
        "level": "INFO", "name": "ml_target.request", "message": "predict",
        "outcome": 200, "tasks": "ocr", "engine": "cpu", "id": "0a1b2c3d4e", "picture": "1440x1920", "lines": 24,
        "ocr.detect_ms": 12.3,
    }  # fmt: skip


def test_every_event_is_one_object_without_passwords(begin: Begin) -> None:
    stderr = begin("json")
    log = logging.getLogger("x")
    log.info('two\nlines with "quotes" of https://me:secret@files.lan')
    try:
        raise ValueError("https://me:secret@files.lan")
    except ValueError:
        log.exception("it broke")
    plain, broken = (json.loads(line) for line in stderr.getvalue().splitlines())
    assert plain["message"] == 'two\nlines with "quotes" of https://***@files.lan'
    assert broken["exception"].startswith("Traceback")
    assert "secret" not in stderr.getvalue()


def test_an_unexpected_error_has_the_id_as_a_field(begin: Begin) -> None:
    stderr = begin("json")
    assert fault(KeyError("x"), "0a1b2c3d4e")[0] == 500
    line = json.loads(stderr.getvalue())
    assert line["id"] == "0a1b2c3d4e"
    assert line["message"] == "a request failed with an unexpected error, id=0a1b2c3d4e"
    assert line["exception"].endswith("KeyError: 'x'")


def test_warnings_and_what_nobody_caught_are_lines_of_the_log(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    stderr = begin("json")
    take_uncaught()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(False)  # pytest has put its own way of warning into place meanwhile
            logging.captureWarnings(True)
            warnings.warn("odd https://me:secret@files.lan", stacklevel=1)
        thread = threading.Thread(target=lambda: [][0], name="device_0")
        thread.start()
        thread.join()
        sys.excepthook(ValueError, ValueError("at the end"), None)
    finally:
        logging.captureWarnings(False)
    warned, in_thread, ending = (json.loads(line) for line in stderr.getvalue().splitlines())
    assert (warned["name"], "odd https://***@files.lan" in warned["message"]) == ("py.warnings", True)
    assert ("device_0" in in_thread["message"], "IndexError" in in_thread["exception"]) == (True, True)
    assert (ending["level"], "at the end" in ending["exception"]) == ("CRITICAL", True)


def test_a_worker_that_cannot_start_says_so_in_the_same_form(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LOG_FORMAT": "json", "LOG_LEVEL": "loud", "IMMICH_PORT": "none"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    stderr = begin("text")
    assert main(["serve"]) == 1
    unknown, why = (json.loads(line) for line in stderr.getvalue().splitlines())
    assert "the log level loud is unknown" in unknown["message"]
    assert (why["level"], "IMMICH_PORT=none: it takes a whole number" in why["message"]) == ("CRITICAL", True)


def test_json_is_never_coloured(monkeypatch: pytest.MonkeyPatch, begin: Begin) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stderr = begin("json")
    logging.getLogger("x").error("bad")
    assert json.loads(stderr.getvalue())["message"] == "bad"


def test_the_report_finds_errors_in_either_form(begin: Begin, tmp_path: Path) -> None:
    stderr = begin("json")
    logging.getLogger("x").info("fine")
    logging.getLogger("x").error("the card is lost")
    file = tmp_path / "log"
    file.write_text(stderr.getvalue())
    (wrong,) = log_section(str(file), 1).wrong
    assert wrong.startswith("the log has an error, the last: ")
    assert "the card is lost" in wrong


def test_another_form_is_refused() -> None:
    with pytest.raises(SettingsError, match="LOG_FORMAT=xml: it takes one of text, json"):
        Settings.from_environment({"LOG_FORMAT": "xml"})


def test_the_header_holds_every_stage() -> None:
    trace = Trace()
    trace.stages = {"receive": 1.26, "clip.infer": 20.0}
    parts = server_timing(trace)["Server-Timing"].split(", ")
    assert parts[:2] == ["receive;dur=1.3", "clip.infer;dur=20.0"]
    assert parts[2].startswith("total;dur=")
    assert len(parts) == 3
