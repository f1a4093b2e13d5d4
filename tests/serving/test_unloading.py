"""MODEL_TTL over HTTP: networks go after idle time, the next request brings them back, or a 503 says what to do."""

import json
import logging
import time
from pathlib import Path

import httpx
import pytest
from light_towers import light_models
from serving import FakeTasks, fake_services, live

from ml_target.catalogue.networks import TINYCLIP
from ml_target.config import Settings
from ml_target.runtime import resting

ENTRIES = json.dumps({"clip": {"textual": {"modelName": TINYCLIP.immich_name}}})


def ask(client: httpx.Client) -> httpx.Response:
    return client.post("/predict", data={"entries": ENTRIES, "text": "a dog"})


def wait_until_unloaded(client: httpx.Client) -> None:
    end = time.monotonic() + 20
    while client.get("/status").json()["networks"] != "unloaded":
        assert time.monotonic() < end
        time.sleep(0.05)


def test_networks_go_and_come_back(
    tmp_path: Path, wheel_models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(resting, "REST_S", 0.1)
    folder = light_models(tmp_path / "models", wheel_models)
    tower, aside = folder / TINYCLIP.textual.onnx[0].name, tmp_path / "aside.onnx"
    with live(settings=Settings(engine="cpu", models_dir=folder, model_ttl=0.2)) as (client, _):
        first = ask(client)
        assert first.status_code == 200
        wait_until_unloaded(client)
        assert client.get("/ping").status_code == 200, "it answers all the same"
        tower.rename(aside)
        refused = ask(client)
        assert refused.status_code == 503
        assert "cannot be loaded again" in refused.json()["detail"]
        assert "Put the file back" in refused.json()["detail"]
        aside.rename(tower)
        again = ask(client)
        assert (again.status_code, again.json()) == (200, first.json())
        wait_until_unloaded(client)
    assert "loading the networks again" in caplog.text


def test_on_a_card_alone_it_is_said_to_have_no_effect(caplog: pytest.LogCaptureFixture) -> None:
    with live(lambda _: fake_services(FakeTasks()), Settings(engine="cpu", model_ttl=60)) as (client, worker):
        assert client.get("/ping").status_code == 200
        assert client.get("/status").json()["networks"] == "loaded"
        assert worker.places == [], "no engine that unloads"
    assert "MODEL_TTL has no effect: no network runs on the processor" in caplog.text
