"""Queries the worker that runs here over HTTP: whether it is ready, what it serves, how long it takes."""

import http.client
import json
from dataclasses import dataclass, field
from typing import Any

from ml_target.config import Settings, own_host, own_url
from ml_target.diagnostics.progress import TIMING
from ml_target.diagnostics.report.process import Tell
from ml_target.diagnostics.report.section import Section
from ml_target.diagnostics.speed import CLIENTS, PHOTO, measure

TIMEOUT_S = 5.0
TITLE = "The worker that runs here"
CELL_S, MOST_S = 1.2, 60.0
"""Time for one task with one number of clients, and for all of them."""

SLOW_S = 10.0
"""If this many in sequence would take longer, they are not sent at once: other clients need this worker too."""


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
    answer = Answer(f"{own_host(settings)} port {settings.port}")
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
    """How fast the running worker answers for the bundled picture: the short form of `ml_target.diagnostics.speed`."""
    lines = [f"{'task':20}  {'clients':>7}  {'answers a second':>16}  {'p50 ms':>8}  {'p95 ms':>8}"]
    wrong: list[str] = []
    said = ""
    url = own_url(settings)
    pictures = [PHOTO.read_bytes()]
    for row in measure(url, answer.status, pictures, CLIENTS, CELL_S, together=False, slowest_s=SLOW_S, most_s=MOST_S):
        if row.task != said:
            said = row.task
            tell(f"{TIMING}requests of {said}")
        task, clients, rate, p50, p95 = row.cells()
        lines.append(f"{task:20}  {clients:>7}  {rate:>16}  {p50:>8}  {p95:>8}".rstrip())
        if row.failed and not row.left_out:
            wrong.append(f"a request of {row.task} to the running worker failed: {row.failed}")
    return Section("Times of the running worker", "\n".join(lines), wrong)


def _on(task: Any) -> bool:
    return isinstance(task, dict) and task.get("on") is True


def _why(task: Any) -> str:
    return str(task.get("why")) if isinstance(task, dict) else "it does not say why"


def _get(settings: Settings, path: str) -> tuple[int, bytes]:
    """Past any proxy, as the health check. Raises OSError, HTTPException."""
    connection = http.client.HTTPConnection(own_host(settings), settings.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(1 << 20)
    finally:
        connection.close()
