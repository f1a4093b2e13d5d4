"""Asks two workers the same over HTTP, as Immich would: one task a request, its default options."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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

LONGEST = 32 << 20
"""Bytes of an answer: 2,000 faces have half of that."""

PING_S = 30.0


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

    def either(self, task: str, count: int) -> int:
        """How many numbers at least one of them answered."""
        return sum(any((side, task, n) in self.seen for side in SIDES) for n in range(count))

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


class _Reply(NamedTuple):
    status: int
    phrase: str
    content: bytes


class _NoReplyError(Exception):
    """Nothing came, or not all of it in time; the text says what was there instead."""


class Asker:
    """Fills `answers`: at most `at_once` requests at a time, both workers together. `step` is called after each."""

    def __init__(
        self,
        workers: Mapping[str, Worker],
        answers: Answers,
        *,
        at_once: int,
        timeout: float,
        step: Callable[[], object],
    ) -> None:
        self._workers, self._at_once, self._timeout, self._step = workers, at_once, timeout, step
        self._silent = dict.fromkeys(SIDES, 0)
        # Not through a proxy: workers are in the house, and a proxy's own error page is no answer of theirs.
        limits = httpx2.Limits(max_connections=None)
        self._client = httpx2.AsyncClient(timeout=timeout, trust_env=False, limits=limits)
        self._answers = answers

    async def __aenter__(self) -> "Asker":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def check(self) -> None:
        """Raises UnusableInput for a worker that is not there, or is something else."""
        for side in SIDES:
            try:
                answer = await self._exchange(side, "GET", "ping", within=min(PING_S, self._timeout))
            except (_NoReplyError, UnusableAnswer) as error:
                raise self._gone(side, str(error)) from error
            said = answer.content[:240].decode("utf-8", "replace").strip()
            if answer.status != 200 or said != "pong":
                raise self._gone(side, f"to /ping it says {answer.status} {said[:60]!r} instead of pong")

    async def ask(self, photos: Sequence[Photo], queries: Sequence[str], tasks: Sequence[str]) -> None:
        """Asks everything; what is refused is counted. Raises UnusableInput when a worker goes away meanwhile."""
        questions = _questions(photos, queries, tasks)

        async def some() -> None:
            for question in questions:
                await self._one(question)

        asking = [asyncio.create_task(some()) for _ in range(self._at_once)]
        try:
            await asyncio.gather(*asking)
        finally:
            for each in asking:
                each.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def _one(self, question: _Question) -> None:
        side, task, number, photo, _ = question
        try:
            reply = await self._post(question, photo.read() if photo else None)
            self._answers.seen[side, task, number] = _read(task, reply)
        except OSError as error:
            self._answers.refuse(side, task, f"the file cannot be read ({error.strerror})")
        except UnusableAnswer as error:
            self._answers.refuse(side, task, error.reason)
        self._step()

    async def _post(self, question: _Question, data: bytes | None) -> _Reply:
        """Raises UnusableAnswer; UnusableInput where the worker has been silent too often."""
        side, worker = question.side, self._workers[question.side]
        what = ("text", (None, question.text)) if data is None else ("image", ("blob", data))
        form = [("entries", (None, json.dumps(_entries(question.task, worker)))), what]  # multipart, as Immich sends it
        try:
            reply = await self._exchange(side, "POST", "predict", within=self._timeout, files=form)
        except _NoReplyError as error:
            self._silent[side] += 1
            if self._silent[side] >= GIVE_UP:
                raise self._gone(side, f"{error}, {GIVE_UP} times in a row") from error
            raise UnusableAnswer(f"no answer: {error}") from error
        self._silent[side] = 0
        return reply

    async def _exchange(self, side: str, method: str, path: str, *, within: float, **form: Any) -> _Reply:
        """One request, and the whole of its answer within so many seconds. Raises _NoReplyError, UnusableAnswer."""
        try:
            return await asyncio.wait_for(self._whole(method, _join(self._workers[side].url, path), form), within)
        except asyncio.TimeoutError as error:
            raise _NoReplyError(f"nothing, or not all of it, within {within:g} s (--timeout)") from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _NoReplyError(str(error).strip() or type(error).__name__) from error

    async def _whole(self, method: str, url: str, form: Mapping[str, Any]) -> _Reply:
        content = bytearray()
        async with self._client.stream(method, url, **form) as answer:
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > LONGEST:
                    raise UnusableAnswer(f"The answer is longer than {LONGEST >> 20} MiB")
        return _Reply(answer.status_code, answer.reason_phrase, bytes(content))

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


def _read(task: str, answer: _Reply) -> Any:
    """Raises UnusableAnswer."""
    if answer.status // 100 != 2:
        raise UnusableAnswer(f"{answer.status}: {_detail(answer)}")
    try:
        found = orjson.loads(answer.content)
    except ValueError as error:
        raise UnusableAnswer(f"The answer is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise UnusableAnswer("The answer is not an object")
    return {QUERY: vector, SEARCH: vector, FACES: faces, TEXT: lines}[task](found)


def _detail(answer: _Reply) -> str:
    """What the answer says, on one line, and fit for a terminal: it comes from somebody else's program."""
    try:
        said = str(orjson.loads(answer.content)["detail"])[:300]
    except (ValueError, KeyError, TypeError):
        said = answer.content[:400].decode("utf-8", "replace").strip()[:100] or answer.phrase
    return "".join(letter if letter.isprintable() else " " for letter in said)


def _join(url: str, path: str) -> str:
    return f"{url.rstrip('/')}/{path}"
