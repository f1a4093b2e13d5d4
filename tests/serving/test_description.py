"""`/openapi.json` describes what the worker really answers: the usual by hand, the rest by schemathesis."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from pictures import picture
from project import PROJECT, TESTS
from serving import FakeTasks, fake_services, live
from wire import CLIP, FACES, OCR, QUERY, ask, search

from ml_target.api.predict import STATUS
from ml_target.runtime.described import entries_schema
from ml_target.runtime.lifecycle import Worker

EXAMPLES = 280 if os.environ.get("CI") else 60
"""Forms that schemathesis makes up for /predict and for /try: about a minute where CI runs, and a quarter elsewhere."""

SEED = os.environ.get("SCHEMATHESIS_SEED", "14")
"""One seed makes the same forms; another tries others."""


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[httpx.Client, Worker]]:
    with live(lambda _: fake_services(FakeTasks())) as (client, worker):
        yield client, worker


@pytest.fixture(scope="module")
def description(served: tuple[httpx.Client, Worker]) -> dict[str, Any]:
    found: dict[str, Any] = served[0].get("/openapi.json").json()
    return found


def check(description: dict[str, Any], answer: httpx.Response) -> None:
    """The answer is one that the description knows."""
    operation = description["paths"][answer.request.url.path][answer.request.method.lower()]
    described = operation["responses"][f"{answer.status_code}"]
    media_type = answer.headers["content-type"].partition(";")[0]
    content = answer.json() if media_type == "application/json" else answer.text
    jsonschema.Draft202012Validator(described["content"][media_type]["schema"]).validate(content)
    assert all(name in answer.headers for name in described["headers"])


def test_the_usual_answers_are_as_described(served: tuple[httpx.Client, Worker], description: dict[str, Any]) -> None:
    client, _ = served
    photo = picture(width=40, height=30)
    answers = [ask(client, entries, photo) for entries in (CLIP, FACES, OCR, {**FACES, **OCR})]
    answers += [search(client, "dog"), ask(client, CLIP, b"no picture"), ask(client, "{"), client.post("/predict")]
    assert [answer.status_code for answer in answers] == [200] * 5 + [400, 422, 422]
    paths = ("/", "/ping", "/status", "/status/live", "/status/page", "/metrics", "/openapi.json")
    for answer in (*answers, *(client.get(path) for path in paths)):
        check(description, answer)


def test_every_endpoint_and_every_error_is_described(
    served: tuple[httpx.Client, Worker], description: dict[str, Any]
) -> None:
    client, _ = served
    assert set(description["paths"]) == {
        "/", "/ping", "/status", "/status/live", "/status/page", "/metrics", "/openapi.json", "/predict", "/try",
    }  # fmt: skip
    answers = description["paths"]["/predict"]["post"]["responses"]
    assert {f"{status}" for status in STATUS.values()} | {"200"} == set(answers)
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert client.get(path).status_code == 404, "it would load its scripts from elsewhere"


def test_what_immich_asks_is_as_described() -> None:
    form = jsonschema.Draft202012Validator(entries_schema())
    for entries in (CLIP, QUERY, FACES, OCR):
        form.validate(entries)
    assert set(entries_schema(text=True)["properties"]) == {"clip"}
    assert set(entries_schema(text=False)["properties"]["clip"]["properties"]) == {"visual"}
    wrong_ones: list[Any] = [
        {},
        {"clip": {}},
        {"clip": None},
        {"ocr": {"detection": {"modelName": "x"}}},
        {"other": {}},
    ]
    for wrong in wrong_ones:
        with pytest.raises(jsonschema.ValidationError):
            form.validate(wrong)


@pytest.mark.slow
def test_schemathesis_finds_no_answer_that_is_not_described(
    served: tuple[httpx.Client, Worker], tmp_path: Path
) -> None:
    client, worker = served
    before = worker.recorder.totals.requests.copy()
    command = [
        sys.executable, "-m", "schemathesis.cli", "--config-file", str(TESTS / "support/schemathesis.toml"),
        "run", f"{client.base_url}".rstrip("/") + "/openapi.json",
        "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES),
        "--seed", SEED, "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    path = os.pathsep.join((str(TESTS / "support"), str(PROJECT)))
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "api_hooks", "PYTHONPATH": path}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=600, check=False)
    words = ran.stdout.decode("utf-8", "replace")[-8000:]
    assert ran.returncode == 0, f"{words}\nThe same again: SCHEMATHESIS_SEED={SEED}"
    answered = worker.recorder.totals.requests - before
    for task in ("clip.visual", "clip.textual", "facial-recognition", "ocr"):
        assert answered[task, 200] > 0, f"{task} was never reached"
    assert answered["none", 422] > 0
