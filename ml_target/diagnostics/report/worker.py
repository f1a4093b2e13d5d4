"""Queries the worker that runs here over HTTP: whether it is ready, what it serves, how long it takes."""

import http.client
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from ml_target.config import Settings
from ml_target.diagnostics.report.process import Tell
from ml_target.diagnostics.report.section import Section

TIMEOUT_S = 5.0
ANYWHERE = ("", "::", "0.0.0.0")
TITLE = "The worker that runs here"
PICTURE = Path(__file__).resolve().parent.parent / "checks" / "board.jpg"
BURST = 8
TASK_S = 3.0
"""Time for the sequential requests of one task, and as much again for those sent at once."""

REQUEST_S = 30.0
SLOW_MS = 10_000
"""If eight in sequence would take longer, eight at once are not sent: other clients need this worker too."""

BOUNDARY = "immich-ml-hailo-report"


@dataclass(slots=True)
class Answer:
    """The worker's answers. `reached`: something listens. `ours`: it has our status page, `status`."""

    where: str
    reached: bool = False
    ping: str = ""
    ours: bool = False
    status: dict[str, Any] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return self.ours and self.status.get("ready") is True


def ask(settings: Settings) -> Answer:
    """Queries `/ping` and `/status`. Never raises, even if nothing listens or the answer is nonsense."""
    answer = Answer(f"{_address(settings)} port {settings.port}")
    try:
        status, body = _get(settings, "/ping")
    except (OSError, http.client.HTTPException) as error:
        answer.ping = f"no answer ({error})"
        return answer
    answer.reached, answer.ping = True, f"{status} {body.decode('utf-8', 'replace')[:200]}"
    try:
        status, body = _get(settings, "/status")
        content = json.loads(body) if status == http.client.OK else None
    except (OSError, http.client.HTTPException, ValueError):
        content = None
    if isinstance(content, dict) and "tasks" in content and "engine" in content:
        answer.ours, answer.status = True, content
    return answer


def worker_section(answer: Answer) -> Section:
    """The section about the worker."""
    lines = [f"address        {answer.where}", f"/ping          {answer.ping}"]
    if not answer.reached:
        lines.append("No worker answers here, so this report looks at the engine itself.")
        return Section(TITLE, "\n".join(lines), right=["no worker runs here"])
    if not answer.ours:
        lines.append("What listens there has no status page of this project's: it is another program.")
        wrong = [f"another program listens on {answer.where}: set IMMICH_PORT to a free port, or stop it"]
        return Section(TITLE, "\n".join(lines), wrong)
    status = answer.status
    lines += ["/status", json.dumps(_shorter(status), indent=1, ensure_ascii=False)]
    tasks: dict[str, Any] = status["tasks"] if isinstance(status["tasks"], dict) else {}
    off = [f"{name} is off: {_why(task)}" for name, task in tasks.items() if not _on(task)]
    on = [name for name, task in tasks.items() if _on(task)]
    state = f"the worker here is {status.get('state')} on engine {status['engine']}"
    right = [f"{state}, with {', '.join(on)}"] if answer.ready else []
    wrong = off if answer.ready else [f"{state}: {status.get('failure', answer.ping)}", *off]
    return Section(TITLE, "\n".join(lines), wrong, right, most=7000)


def _shorter(status: dict[str, Any]) -> dict[str, Any]:
    """Without the list of names, which is the same for every worker of this version."""
    spaces = status.get("clip")
    if not isinstance(spaces, list):
        return status
    kept = [{k: v for k, v in s.items() if k != "names_of_this_width"} if isinstance(s, dict) else s for s in spaces]
    return {**status, "clip": kept}


def request_times(settings: Settings, answer: Answer, tell: Tell) -> Section:
    """How long the running worker takes for the bundled picture: one request at a time, and eight at once."""
    lines = [f"{'task':20}  {'one after the other':>20}  {f'{BURST} at once, a request':>22}"]
    wrong = []
    for label, entries, text in _asks(answer.status):
        tell(f"timing: requests of {label}")
        try:
            alone = _repeated(settings, entries, text, 1)
            slow = alone * BURST > SLOW_MS
            together = "too slow for that" if slow else f"{_repeated(settings, entries, text, BURST):.1f} ms"
        except (OSError, http.client.HTTPException, ValueError) as error:
            lines.append(f"{label:20}  {error}")
            wrong.append(f"a request of {label} to the running worker failed: {error}")
        else:
            lines.append(f"{label:20}  {alone:17.1f} ms  {together:>22}")
    return Section("Times of the running worker", "\n".join(lines), wrong)


def _repeated(settings: Settings, entries: dict[str, Any], text: str | None, at_once: int) -> float:
    """Milliseconds per request: the median of rounds of `at_once`. Raises ValueError unless the status is 200."""
    body = _body(entries, text)
    rounds: list[float] = []
    with ThreadPoolExecutor(at_once) as pool:
        end = time.monotonic() + TASK_S
        while not rounds or (time.monotonic() < end and len(rounds) < 10):
            started = time.perf_counter()
            list(pool.map(lambda _: _predict(settings, body), range(at_once)))
            rounds.append((time.perf_counter() - started) * 1000 / at_once)
    return median(rounds[1:] or rounds)


def _asks(status: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Label, entries and text of a request for each task that is on, with model names that the worker serves."""
    tasks = status["tasks"] if isinstance(status["tasks"], dict) else {}
    spaces = status.get("clip")
    first = spaces[0] if isinstance(spaces, list) and spaces and isinstance(spaces[0], dict) else {}
    name = first.get("immich_name", "ViT-B-32__openai")
    for label, task in tasks.items():
        if not _on(task) or "@" in label:
            continue
        if label == "clip.textual":
            yield label, {"clip": {"textual": {"modelName": name}}}, "a dog on a beach"
        elif label == "clip.visual":
            yield label, {"clip": {"visual": {"modelName": name}}}, None
        elif label == "facial-recognition":
            both = {"detection": {"modelName": "buffalo_l"}, "recognition": {"modelName": "buffalo_l"}}
            yield label, {label: both}, None
        elif label == "ocr":
            both = {"detection": {"modelName": "PP-OCRv5_mobile"}, "recognition": {"modelName": "PP-OCRv5_mobile"}}
            yield label, {label: both}, None


def _predict(settings: Settings, body: bytes) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    status, answer = _request(settings, "POST", "/predict", REQUEST_S, body, headers)
    if status != http.client.OK:
        raise ValueError(f"status {status}: {answer.decode('utf-8', 'replace')[:300]}")


def _body(entries: dict[str, Any], text: str | None) -> bytes:
    """A multipart form as Immich sends it."""
    parts = [_part('name="entries"', json.dumps(entries).encode())]
    if text is not None:
        parts.append(_part('name="text"', text.encode()))
    else:
        head = 'name="image"; filename="board.jpg"\r\nContent-Type: application/octet-stream'
        parts.append(_part(head, PICTURE.read_bytes()))
    return b"".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def _part(head: str, content: bytes) -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"


def _on(task: Any) -> bool:
    return isinstance(task, dict) and task.get("on") is True


def _why(task: Any) -> str:
    return str(task.get("why")) if isinstance(task, dict) else "it does not say why"


def _address(settings: Settings) -> str:
    host = settings.host.strip("[]")
    return "127.0.0.1" if host in ANYWHERE else host


def _get(settings: Settings, path: str) -> tuple[int, bytes]:
    return _request(settings, "GET", path, TIMEOUT_S)


def _request(
    settings: Settings,
    method: str,
    path: str,
    seconds: float,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """Past any proxy, as the health check. Raises OSError, HTTPException."""
    connection = http.client.HTTPConnection(_address(settings), settings.port, timeout=seconds)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(1 << 20)
    finally:
        connection.close()
