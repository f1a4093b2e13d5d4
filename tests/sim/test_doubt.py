"""A task whose card cannot be believed is off, in words, and on again when it can."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hailo_sim import Rig
from hailo_worker import SPEED, mixed, models_folder, running
from serving import FakeTasks, fake_services, live

from ml_target.catalogue.networks import ARCFACE_R50, TINYCLIP
from ml_target.engines.hailo import engine as hailo
from ml_target.errors import TaskOff, Unavailable
from ml_target.runtime.registry import Services
from ml_target.scheduling.model import Model, Provenance
from ml_target.tasks.service import Service

TWO_WAYS = TaskOff("the card answered in two ways", "Cool it.")


class Doubted:
    """A model of which this is to be said."""

    def __init__(self) -> None:
        self.why: TaskOff | None = None

    def service(self, label: str) -> Service[Any]:
        model = SimpleNamespace(
            network=ARCFACE_R50,
            provenance=Provenance("arcface_r50.hef", "ab", "hailo"),
            loaded=SimpleNamespace(roles={"embedding": (512,)}),
            doubt=lambda: self.why,
        )
        return Service(label, cast(Any, FakeTasks()), (cast(Model, model),), variant="tinyclip" if "." in label else "")


def test_a_task_goes_off_and_on_while_it_is_served() -> None:
    doubted = Doubted()
    service = doubted.service("facial-recognition")
    assert service.on
    assert service.get()
    doubted.why = TWO_WAYS
    assert (service.on, service.fault) == (False, True)
    assert service.why_off == "arcface_r50: the card answered in two ways. Cool it."
    assert service.off is not None
    assert (service.off.reason, service.off.remedy) == ("arcface_r50: the card answered in two ways", "Cool it.")
    with pytest.raises(Unavailable, match=r"^facial-recognition is off: arcface_r50: the card answered in two ways"):
        service.get()
    assert service.refusal().remedy == "Cool it."
    doubted.why = None
    assert service.on


def test_a_worker_that_serves_nothing_now_is_not_ready() -> None:
    doubted = Doubted()
    made = fake_services(FakeTasks())
    services = Services({task: [doubted.service(each.name) for each in of] for task, of in made.of.items()})
    with live(lambda _: services) as (client, worker):
        while worker.state == "loading":
            time.sleep(0.01)
        assert client.get("/ping").text == "pong"
        doubted.why = TWO_WAYS
        page = client.get("/status/page").json()
        assert {(task["on"], task["why"], task["remedy"]) for task in page["tasks"]} == {
            (False, "arcface_r50: the card answered in two ways", "Cool it.")
        }
        assert (client.get("/ping").status_code, worker.state) == (503, "idle"), "another worker is asked first"
        doubted.why = None
        assert client.get("/ping").text == "pong"


def test_a_text_tower_that_is_doubted_at_start(
    wheel_models: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it leaves to the host cannot be found out from answers that change: its task is off, the others serve."""
    monkeypatch.setattr(hailo, "host_checks", lambda **_: [])
    folder = models_folder(wheel_models, tmp_path_factory.getbasetemp())
    rig = Rig(clock=SPEED)
    rig.faults.change_answers(TINYCLIP.textual.name, until_reopened=False)
    with running(rig, folder) as served:
        tasks = served.client.get("/status").json()["tasks"]
        assert [label for label, task in tasks.items() if not task["on"]] == ["clip.textual"]
        assert "answered the same frame twice in different ways" in tasks["clip.textual"]["why"]
        clip, faces, query, *_ = mixed(1)
        assert served.alone([clip, faces])
        assert query.send(served.client).status_code == 503
