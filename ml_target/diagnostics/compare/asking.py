"""Asks two workers the same over HTTP, as Immich would: one task a request, its default options."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx2
import orjson

from ml_target.diagnostics.compare.answers import UnusableAnswer, faces, lines, vector
from ml_target.diagnostics.compare.photos import Photo
from ml_target.errors import UnusableInput
from ml_target.log.private import without_login

OURS, THEIRS = "this worker", "the other one"
SIDES = (OURS, THEIRS)
SEARCH, QUERY, FACES, TEXT = "search", "query", "faces", "text"

GIVE_UP = 5
"""Requests in a row without any answer, after which a worker counts as gone."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Where a worker is, and the model names that it is asked for."""

    url: str
    clip: str
    faces: str
    text: str


@dataclass(slots=True)
class Answers:
    """`seen`: by side, task and number of the photo or query. `refused`: by side and task, what was said, how often."""

    seen: dict[tuple[str, str, int], Any] = field(default_factory=dict)
    refused: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)

    def both(self, task: str, count: int) -> list[int]:
        """The numbers that both workers answered."""
        return [n for n in range(count) if all((side, task, n) in self.seen for side in SIDES)]

    def of(self, side: str, task: str, numbers: Sequence[int]) -> list[Any]:
        return [self.seen[side, task, n] for n in numbers]

    def refuse(self, side: str, task: str, why: str) -> None:
        counts = self.refused.setdefault((side, task), {})
        counts[why] = counts.get(why, 0) + 1


class _Question(NamedTuple):
    side: str
    task: str
    number: int
    photo: Photo | None
    text: str


class Asker:
    """One comparison: at most `at_once` requests at a time, both workers together. `step` is called after each."""

    def __init__(
        self, workers: Mapping[str, Worker], *, at_once: int, timeout: float, step: Callable[[], object]
    ) -> None:
        self._workers, self._at_once, self._step = workers, at_once, step
        self._silent = dict.fromkeys(SIDES, 0)
        self._lock = threading.Lock()
        # Not through a proxy: workers are in the house, and a proxy's own error page is no answer of theirs.
        self._client = httpx2.Client(timeout=timeout, trust_env=False)
        self.answers = Answers()

    def __enter__(self) -> "Asker":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def check(self) -> None:
        """Raises UnusableInput for a worker that is not there, or is something else."""
        for side in SIDES:
            try:
                answer = self._client.get(_join(self._workers[side].url, "ping"))
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise self._gone(side, _words(error)) from error
            if answer.status_code != 200 or answer.text.strip() != "pong":
                said = f"to /ping it says {answer.status_code} {answer.text[:60].strip()!r} instead of pong"
                raise self._gone(side, said)

    def ask(self, photos: Sequence[Photo], queries: Sequence[str], tasks: Sequence[str]) -> Answers:
        """Asks everything; what is refused is counted. Raises UnusableInput when a worker goes away meanwhile."""
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="compare") as threads:
            asked = [threads.submit(self._one, each) for each in _questions(photos, queries, tasks)]
            try:
                for answered in as_completed(asked):
                    answered.result()
            finally:
                threads.shutdown(wait=True, cancel_futures=True)
        return self.answers

    def _one(self, question: _Question) -> None:
        side, task, number, photo, _ = question
        try:
            data = photo.read() if photo else None
            answer = self._post(question, data)
        except OSError as error:
            self._refused(side, task, f"the file cannot be read ({error.strerror})")
        except UnusableAnswer as error:
            self._refused(side, task, error.reason)
        else:
            with self._lock:
                self.answers.seen[side, task, number] = answer
        self._step()

    def _refused(self, side: str, task: str, why: str) -> None:
        with self._lock:
            self.answers.refuse(side, task, why)

    def _post(self, question: _Question, data: bytes | None) -> Any:
        side, task = question.side, question.task
        worker = self._workers[side]
        what = ("text", (None, question.text)) if data is None else ("image", ("blob", data))
        form = [("entries", (None, json.dumps(_entries(task, worker)))), what]  # multipart, as Immich sends it
        try:
            answer = self._client.post(_join(worker.url, "predict"), files=form)
        except httpx2.HTTPError as error:
            with self._lock:
                self._silent[side] += 1
                if self._silent[side] >= GIVE_UP:
                    raise self._gone(side, f"{_words(error)}, {GIVE_UP} times in a row") from error
            raise UnusableAnswer(f"no answer: {_words(error)}") from error
        with self._lock:
            self._silent[side] = 0
        return _read(task, answer)

    def _gone(self, side: str, why: str) -> UnusableInput:
        where = without_login(self._workers[side].url)
        return UnusableInput(
            f"{side.capitalize()}, {where}, does not answer: {why}",
            "Give the URL as it stands in Immich's settings, such as http://HOST:3003, "
            "and wait until its /ping says pong.",
        )


def _questions(photos: Sequence[Photo], queries: Sequence[str], tasks: Sequence[str]) -> Iterator[_Question]:
    """In the order in which they are asked: both workers see the same photo one after the other."""
    if SEARCH in tasks:
        for number, text in enumerate(queries):
            for side in SIDES:
                yield _Question(side, QUERY, number, None, text)
    for number, photo in enumerate(photos):
        for task in (SEARCH, FACES, TEXT):
            if task in tasks:
                for side in SIDES:
                    yield _Question(side, task, number, photo, "")


def _entries(task: str, worker: Worker) -> dict[str, Any]:
    """As the Immich server sends them with its default settings."""
    if task == QUERY:
        return {"clip": {"textual": {"modelName": worker.clip, "options": {"language": "en"}}}}
    if task == SEARCH:
        return {"clip": {"visual": {"modelName": worker.clip}}}
    if task == FACES:
        detection = {"modelName": worker.faces, "options": {"minScore": 0.7}}
        return {"facial-recognition": {"detection": detection, "recognition": {"modelName": worker.faces}}}
    boxes = {"modelName": worker.text, "options": {"minScore": 0.5, "maxResolution": 736}}
    return {"ocr": {"detection": boxes, "recognition": {"modelName": worker.text, "options": {"minScore": 0.8}}}}


def _read(task: str, answer: httpx2.Response) -> Any:
    """Raises UnusableAnswer."""
    if not answer.is_success:
        raise UnusableAnswer(f"{answer.status_code}: {_detail(answer)}")
    try:
        found = orjson.loads(answer.content)
    except ValueError as error:
        raise UnusableAnswer(f"The answer is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise UnusableAnswer("The answer is not an object")
    return {QUERY: vector, SEARCH: vector, FACES: faces, TEXT: lines}[task](found)


def _detail(answer: httpx2.Response) -> str:
    """What the answer says, on one line, and fit for a terminal: it comes from somebody else's program."""
    try:
        said = str(orjson.loads(answer.content)["detail"])[:300]
    except (ValueError, KeyError, TypeError):
        said = answer.text[:100].strip() or answer.reason_phrase
    return "".join(letter if letter.isprintable() else " " for letter in said)


def _join(url: str, path: str) -> str:
    return f"{url.rstrip('/')}/{path}"


def _words(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
