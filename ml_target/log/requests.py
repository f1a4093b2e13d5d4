"""The log: where it goes, and the one line for each request."""

import json
import logging
import os
import sys
import threading
from types import TracebackType
from typing import Any, Literal

from ml_target.log.colour import RedErrors, takes_colour
from ml_target.log.lines import JsonLines, TextLines
from ml_target.log.trace import Trace
from ml_target.log.words import quoted

log = logging.getLogger("ml_target.request")


def set_up(level: int, form: Literal["text", "json"] = "text") -> None:
    """Everything to stderr, one line per event except for the start-up summary; uvicorn's access log stays silent."""
    kind = RedErrors if form == "text" and takes_colour(sys.stderr, os.environ) else logging.StreamHandler
    lines = kind(sys.stderr)
    lines.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(handlers=[lines], level=level, force=True)
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(max(level, logging.WARNING))
    for noisy in ("multipart", "python_multipart", "PIL"):
        logging.getLogger(noisy).setLevel(max(level, logging.INFO))
    # They log every URL, or the headers of a redirect, with any secret in them.
    for telling in ("httpx2", "httpcore2"):
        logging.getLogger(telling).setLevel(max(level, logging.WARNING))


def take_uncaught() -> None:
    """From here on the log has, in its form, what Python would write beside it: warnings, and errors nobody caught."""

    def ending(kind: type[BaseException], error: BaseException, place: TracebackType | None) -> None:
        if issubclass(kind, Exception):
            unexpected.critical("an unexpected error ends the worker: please report it", exc_info=(kind, error, place))
        else:
            sys.__excepthook__(kind, error, place)

    def in_thread(given: threading.ExceptHookArgs) -> None:
        if given.exc_value is not None and isinstance(given.exc_value, Exception):
            words = "an unexpected error ended the thread %s: please report it"
            unexpected.error(words, given.thread and given.thread.name, exc_info=given.exc_value)

    unexpected = logging.getLogger("ml_target")
    logging.captureWarnings(True)
    sys.excepthook, threading.excepthook = ending, in_thread


def log_request(trace: Trace, status: int, detail: Any, engine: str) -> None:
    """`predict outcome=200 tasks=ocr picture=1440x1920 lines=24 … total_ms=512.3`: key=value, one line.

    `engine`: the worker's, for a request that no network was picked for.
    """
    level = logging.INFO if status == 200 and not trace.warnings else logging.WARNING
    if status >= 500 and status != 503:
        level = logging.ERROR
    if not log.isEnabledFor(level):
        return
    engines = ",".join(trace.engines) or engine
    parts: dict[str, Any] = {"outcome": status, "tasks": ",".join(trace.tasks) or "-", "engine": engines}
    if trace.id:
        parts["id"] = trace.id
    if trace.picture:
        parts["picture"] = "{}x{}".format(*trace.picture)
    parts.update(trace.counts)
    parts.update({f"{stage}_ms": round(ms, 1) for stage, ms in trace.stages.items()})
    parts["total_ms"] = round(trace.elapsed_ms, 1)
    if detail:
        parts["detail"] = detail if isinstance(detail, str) else json.dumps(detail)
    if trace.warnings:
        parts["warnings"] = "; ".join(trace.warnings)
    words = " ".join(f"{key}={quoted(value)}" for key, value in parts.items())
    log.log(level, "predict %s", words, extra={"event": "predict", "fields": parts})
