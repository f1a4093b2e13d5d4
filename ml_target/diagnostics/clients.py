"""Clients of a running worker, each sending its next request as soon as it has an answer.

Only the standard library, and little of it: what the clients compute is missing to a worker on the same machine.
"""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

BOUNDARY = "immich-ml-hailo-clients"
TIMEOUT_S = 120.0
"""For one request. Immich itself would wait longer; a measurement is over by then."""

LONGEST_ANSWER = 64 << 20

ENOUGH, STRETCH = 3, 4.0
"""Answers a client that make a window worth counting, and how many times longer it may become for them."""

Turn = Sequence[bytes]
"""The forms that a client sends one after the other before it counts one answer: one for each task of a photo."""


@dataclass(slots=True)
class Seen:
    """What the clients of one window saw. `latencies`: seconds, of turns answered in the window; `failed`: words.

    `turns`: all that were answered, those before and after the window included, and `elapsed` the seconds they took.
    """

    seconds: float
    latencies: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    turns: int = 0
    elapsed: float = 0.0

    @property
    def rate(self) -> float:
        """Turns a second."""
        return len(self.latencies) / self.seconds

    def milliseconds(self, share: float) -> float:
        """The quantile of the latencies; NaN where nothing was answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000 if ordered else float("nan")


class Connection:
    """One kept connection, as the Immich server's. Any proxy is passed by."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._name = parts.netloc
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def predict(self, form: bytes) -> bytes:
        """The answer. Raises ValueError for a status other than 200, OSError, TimeoutError."""
        head = f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(form)}\r\n"
        return await self._ask("POST", "/predict", head, form)

    async def get(self, path: str) -> bytes:
        """As `predict`."""
        return await self._ask("GET", path, "", b"")

    async def close(self) -> None:
        """Closes it; the next request opens another."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with suppress(OSError):
                await streams[1].wait_closed()

    async def _ask(self, method: str, path: str, head: str, body: bytes) -> bytes:
        try:
            status, answer = await asyncio.wait_for(self._exchange(method, path, head, body), TIMEOUT_S)
        except asyncio.IncompleteReadError as error:
            await self.close()
            raise ConnectionResetError("the connection was closed before there was an answer") from error
        except asyncio.LimitOverrunError as error:
            await self.close()
            raise ValueError("what answers there is not a worker of this project") from error
        except BaseException:
            await self.close()
            raise
        if status != 200:
            raise ValueError(f"status {status}: {answer.decode('utf-8', 'replace')[:300]}")
        return answer

    async def _exchange(self, method: str, path: str, head: str, body: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: {self._name}\r\n{head}\r\n".encode())
        writer.write(body)
        await writer.drain()
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        status = first.split()[1:2]
        fields = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = fields.get("content-length", "")
        if not status or not length.isdigit() or int(length) > LONGEST_ANSWER:
            raise ValueError("what answers there is not a worker of this project")
        answer = await reader.readexactly(int(length))
        if fields.get("connection") == "close":
            await self.close()
        return int(status[0]), answer


async def closed_loop(url: str, turns: Sequence[Turn], clients: int, seconds: float, warm_up: float) -> Seen:
    """What `clients` see within `seconds` after `warm_up` seconds, each beginning at another of the `turns`.

    The window is longer, up to `STRETCH` times, where so few answers come that it would show chance alone.
    A failure ends its client.
    """
    seen = Seen(seconds)
    began = time.perf_counter()
    start, over = began + warm_up, False
    end, latest = start + seconds, start + STRETCH * seconds

    async def client(number: int) -> None:
        nonlocal over
        connection = Connection(url)
        turn = number * len(turns) // clients
        try:
            while not over:
                asked = time.perf_counter()
                for form in turns[turn % len(turns)]:
                    await connection.predict(form)
                answered = time.perf_counter()
                seen.turns += 1
                turn += 1
                if over or answered < start:
                    continue
                if answered >= end and len(seen.latencies) >= ENOUGH * clients:
                    over = True
                    continue
                seen.latencies.append(answered - asked)
                if answered >= end and (len(seen.latencies) >= ENOUGH * clients or answered >= latest):
                    over, seen.seconds = True, answered - start
        except (OSError, ValueError, asyncio.TimeoutError) as error:
            seen.failed.append(str(error) or f"no answer within {TIMEOUT_S:g} s")
        finally:
            await connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    seen.elapsed = time.perf_counter() - began
    return seen


# ---------------------------------------------------------------------- forms


def form(entries: Mapping[str, Any], content: bytes | str) -> bytes:
    """The body of a request as Immich sends it: `entries`, then a picture's bytes or a text."""
    parts = [('name="entries"', json.dumps(entries).encode())]
    if isinstance(content, str):
        parts.append(('name="text"', content.encode()))
    else:
        parts.append(('name="image"; filename="blob"\r\nContent-Type: application/octet-stream', content))
    return b"".join(
        [
            *(
                f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
                for head, data in parts
            ),
            f"--{BOUNDARY}--\r\n".encode(),
        ]
    )


def tasks_on(status: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Label and entries of every task that is on, with model names that the worker serves. `status`: of `/status`."""
    tasks = status["tasks"] if isinstance(status["tasks"], dict) else {}
    name = {"modelName": _first_on(status, "clip").get("immich_name", "ViT-B-32__openai")}
    text = {"modelName": _first_on(status, "ocr").get("immich_name", "PP-OCRv5_mobile")}
    faces = {"modelName": "buffalo_l"}
    known: dict[str, dict[str, Any]] = {
        "clip.visual": {"clip": {"visual": name}},
        "clip.textual": {"clip": {"textual": name}},
        "facial-recognition": {"facial-recognition": {"detection": faces, "recognition": faces}},
        "ocr": {"ocr": {"detection": text, "recognition": text}},
    }
    for label, task in tasks.items():
        if isinstance(task, dict) and task.get("on") is True and label in known:
            yield label, known[label]


def _first_on(status: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    """What the status page says of a task's first model that is on, else of its first; empty where it says nothing."""
    models = status.get(task)
    entries = [each for each in models if isinstance(each, dict)] if isinstance(models, list) else []
    return next((each for each in entries if each.get("on") is not False), entries[0] if entries else {})
