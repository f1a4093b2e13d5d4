"""What the worker tells of its requests over HTTP: the live figures, and ids, in answers and in the log."""

import json
import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pictures import picture
from serving import FakeTasks, fake_services, live
from wire import CLIP, FACES, OCR, ask, search

from ml_target.errors import EngineFault
from ml_target.figures.ring import STEPS
from ml_target.runtime.lifecycle import Worker

SECRETS = ("HELLO", "holiday in the alps", "private.jpg")


@pytest.fixture(scope="module")
def tasks() -> FakeTasks:
    return FakeTasks()


@pytest.fixture(scope="module")
def served(tasks: FakeTasks) -> Iterator[tuple[httpx.Client, Worker]]:
    """One worker for all of these; text is off."""
    with live(lambda _: fake_services(tasks, off=("ocr",))) as (client, worker):
        assert ask(client, CLIP).status_code == 200
        yield client, worker


def told(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/status/live")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def test_every_answer_has_an_id_of_its_own_and_none_from_outside(served: tuple[httpx.Client, Worker]) -> None:
    client, _ = served
    paths = ("/", "/ping", "/status", "/status/live", "/nowhere", "/predict")
    answers = [client.get(path, headers={"X-Request-Id": "<script>"}) for path in paths]
    ids = [answer.headers.get_list("x-request-id") for answer in answers]
    assert all(len(each) == 1 and re.fullmatch("[0-9a-f]{10}", each[0]) for each in ids)
    assert len({each[0] for each in ids}) == len(paths)


def test_the_id_of_a_request_is_in_answer_log_and_list(
    served: tuple[httpx.Client, Worker], tasks: FakeTasks, caplog: pytest.LogCaptureFixture
) -> None:
    client, _ = served
    with caplog.at_level(logging.INFO, "ml_target.request"):
        done = ask(client, FACES, picture(width=40, height=30))
        off = ask(client, OCR)
        tasks.fail_with = EngineFault("It broke", "Mend it.")
        broken = search(client, SECRETS[1])
        tasks.fail_with = None
        malformed = client.post("/predict", data={"entries": "{"}, files={"image": (SECRETS[2], b"x")})
    answers = (done, off, broken, malformed)
    assert [answer.status_code for answer in answers] == [200, 503, 500, 422]
    ids = [answer.headers["x-request-id"] for answer in answers]
    logged = [record.getMessage() for record in caplog.records if record.name == "ml_target.request"]
    assert [f"id={each}" in line for each, line in zip(ids, logged, strict=True)] == [True] * 4
    last = told(client)["last"]
    assert [each["id"] for each in last[:4]] == ids[::-1]
    assert [each["reason"] for each in last[:4]] == ["malformed", "engine_fault", "task_off", None]
    seen = last[3]
    assert (seen["tasks"], seen["picture"], seen["outcome"]) == (["facial-recognition"], [40, 30], 200)
    assert abs(seen["at"] - time.time()) < 60
    assert seen["bytes"] > 100
    assert seen["total_ms"] >= seen["stages_ms"]["decode"] > 0
    assert not [secret for secret in SECRETS if secret in json.dumps(last)]


def test_the_live_figures_are_what_the_page_expects(served: tuple[httpx.Client, Worker]) -> None:
    client, worker = served
    found = told(client)
    assert (found["step_s"], found["steps"]) == (5, STEPS)
    assert set(found["tasks"]) == {"clip.visual", "clip.textual", "facial-recognition", "ocr"}
    for task in found["tasks"].values():
        assert {key: len(task[key]) for key in ("done", "failed", "mean_ms")} == dict.fromkeys(
            ("done", "failed", "mean_ms"), STEPS
        )
    assert found["run"]["photos"] >= 1
    memory = found["memory"]
    assert memory["resident_mb"] > 10
    assert memory["decoded_mb"] == 0
    assert memory["limit_mb"] == worker.memory.pictures.total // 2**20
    assert found["load"] == {"cores": worker.cores, "threads": worker.host_threads}


def test_prometheus_gets_the_same_figures(served: tuple[httpx.Client, Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    client, worker = served

    async def devices() -> list[dict[str, Any]]:
        return [{"engine": "hailo", "ready": True, "temperature_c": 61.25}]

    monkeypatch.setattr(worker, "devices", devices)
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert re.search(r'^immich_ml_requests_total\{outcome="200",task="clip.visual"\} [1-9]', answer.text, re.M)
    assert 'immich_ml_device_temperature_celsius{engine="hailo"} 61.25' in answer.text
    assert 'immich_ml_task_on{task="ocr"} 0.0' in answer.text
    assert re.search(r"^immich_ml_ready 1.0$", answer.text, re.M)
    assert not [secret for secret in SECRETS if secret in answer.text]


def test_an_answer_says_how_long_each_stage_took(served: tuple[httpx.Client, Worker]) -> None:
    client, _ = served
    stages = dict(part.split(";dur=") for part in ask(client, CLIP).headers["server-timing"].split(", "))
    assert [*stages] == ["receive", "load", "wait", "decode", "clip.infer", "total"]
    assert float(stages["total"]) >= float(stages["decode"]) >= 0
    assert "receive;dur=" in client.post("/predict", data={"x": "y"}).headers["server-timing"]
