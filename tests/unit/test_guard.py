"""When the rest of a body is read and dropped before a connection is closed, and when it is not."""

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ml_target.api import guard
from ml_target.api.guard import DROPPING, Guard


async def refuses(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 413, "headers": []})
    await send({"type": "http.response.body", "body": b"no"})


async def fails(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("at once")


async def reads(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await refuses(scope, receive, send)


def asked(app: Any, *headers: tuple[bytes, bytes], stops: bool = False, pieces: int = 3) -> tuple[list[Message], int]:
    """The messages that one request is answered with, and how many of its pieces were read."""
    scope: dict[str, Any] = {"type": "http", "http_version": "1.1", "headers": headers}
    sent: list[Message] = []
    read = 0

    async def receive() -> Message:
        nonlocal read
        if read == pieces:
            await asyncio.sleep(60)
        read += 1
        return {"type": "http.request", "body": b"x", "more_body": read < 3}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(Guard(app, lambda: stops)(scope, receive, send))
    assert (DROPPING in scope) == (len(sent) == 3)
    return sent, read


CLOSE = (b"connection", b"close")
WAITS = (b"expect", b"100-continue")


def test_a_connection_that_stays_open_drops_by_itself() -> None:
    assert asked(refuses)[1] == 0


def test_the_rest_is_read_where_the_connection_closes() -> None:
    assert asked(refuses, CLOSE)[1] == 3
    assert asked(refuses, stops=True)[1] == 3, "as it does when the worker stops"
    sent, read = asked(fails)
    assert (sent[0]["status"], read) == (500, 3), "as our own answer to a fault says"
    assert b"".join(message.get("body", b"") for message in sent).startswith(b'{"detail":"Internal error')


def test_a_worker_that_stops_waits_only_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "STOP_DROP_S", 0.01)
    sent, read = asked(refuses, CLOSE, stops=True, pieces=1)
    assert (sent[-1], read) == ({"type": "http.response.body"}, 1)


def test_who_waits_to_be_asked_for_a_body_sends_none() -> None:
    assert asked(refuses, CLOSE, WAITS)[1] == 0
    assert asked(reads, CLOSE, WAITS)[1] == 3, "has been asked"
