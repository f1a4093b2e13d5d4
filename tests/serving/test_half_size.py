"""Pictures decoded at half their size, over HTTP: for search alone, and the answer tells the picture's own size."""

import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hostile_pictures import photo, saved
from serving import FakeTasks, fake_services, live
from wire import CLIP, FACES, OCR, ask

from ml_target.log.trace import Trace
from ml_target.tasks.clip.task import ClipTask
from ml_target.tensors import Float32, UInt8

LEAST = 100
LARGE = saved(photo(400, 300), "JPEG")


class Sizes(FakeTasks):
    """Notes the sizes of the pictures that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    async def embed(self, content: UInt8, trace: Trace) -> Float32:
        self.seen.append(content.shape)
        return await super().embed(content, trace)


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[httpx.Client, Sizes]]:
    tasks = Sizes()
    with live(lambda _: fake_services(tasks)) as (client, _):
        yield client, tasks


@pytest.mark.parametrize(
    ("asked", "data", "enough", "shape"),
    [
        (CLIP, LARGE, LEAST, (150, 200, 3)),
        (CLIP, LARGE, None, (300, 400, 3)),
        (CLIP, LARGE, 151, (300, 400, 3)),
        (CLIP | FACES, LARGE, LEAST, (300, 400, 3)),
        (CLIP | FACES | OCR, LARGE, LEAST, (300, 400, 3)),
        (CLIP, saved(photo(400, 300), "WEBP"), LEAST, (300, 400, 3)),
        (CLIP, LARGE[:-2] + bytes(9) + LARGE[-2:], LEAST, (300, 400, 3)),
    ],
    ids=["search alone", "exact", "too small", "with faces", "every task", "no JPEG", "a fault that Pillow takes"],
)
def test_what_search_gets(
    served: tuple[httpx.Client, Sizes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    asked: dict[str, Any],
    data: bytes,
    enough: int | None,
    shape: tuple[int, ...],
) -> None:
    monkeypatch.setattr(ClipTask, "enough", lambda *_: enough)
    client, tasks = served
    with caplog.at_level(logging.INFO, "ml_target.request"):
        answer = ask(client, asked, data)
    assert answer.status_code == 200, answer.text
    assert tasks.seen[-1] == shape
    assert (answer.json()["imageWidth"], answer.json()["imageHeight"]) == (400, 300)
    [line] = [r.getMessage() for r in caplog.records if r.name == "ml_target.request"]
    assert "picture=400x300" in line
    assert ("half_size=1" in line) is (shape[0] == 150)


def test_a_damaged_picture_is_refused_as_ever(
    served: tuple[httpx.Client, Sizes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClipTask, "enough", lambda *_: LEAST)
    answer = ask(served[0], CLIP, LARGE[: len(LARGE) // 2])
    assert answer.status_code == 400
    assert "Regenerate its preview" in answer.json()["detail"]
