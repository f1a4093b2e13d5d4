"""setup.sh puts a new container in the place of its old one: what is lost on the way is nothing, whatever fails."""

import pytest
from setup_planned import PlannedHost

OURS = {"immich-ml-hailo.setup": "1"}
CHANGE = {"CLIP_BACKEND": "siglip", "FACE_RECOGNIZER": "arcface_mobilefacenet"}


@pytest.fixture
def served(host: PlannedHost) -> dict[str, str]:
    """The environment of a host on which a container with settings of its own runs."""
    environment = {"IMMICH_PORT": "65000"}
    done = host.run("--yes", **CHANGE, **environment)
    assert done.code == 0, done.err
    return environment


def kept(host: PlannedHost) -> set[str]:
    """The settings of our container."""
    return set(host.ours["environment"])


AS_CHOSEN = {f"{name}={value}" for name, value in CHANGE.items()}


def test_the_old_one_may_answer_what_it_has_and_goes_when_the_new_one_runs(
    host: PlannedHost, served: dict[str, str]
) -> None:
    assert host.run("--yes", HAILO_BATCH="4", **served).code == 0
    assert host.changes() == ["stop", "rename", "run -d", "rm"]
    assert host.call("stop") == ["stop", "-t", "30", "immich-ml-hailo"]
    assert host.call("run", "-d")[host.call("run", "-d").index("--stop-timeout") + 1] == "30"
    assert host.call("rm") == ["rm", "-f", "--volumes", "immich-ml-hailo-replaced"]
    assert list(host.state["containers"]) == ["immich-ml-hailo"]
    assert kept(host) == {*AS_CHOSEN, "HAILO_BATCH=4"}


@pytest.mark.parametrize(("status", "after"), [("running", "runs again"), ("exited", "is there again, as it was")])
@pytest.mark.parametrize("left", [None, OURS])
def test_a_new_one_that_cannot_be_started_leaves_the_old_one(
    host: PlannedHost, served: dict[str, str], status: str, after: str, left: dict[str, str] | None
) -> None:
    host.container(**{**host.ours, "status": status})
    before = host.state["containers"]
    host.fault("run -d", "Bind for 0.0.0.0:65000 failed: port is already allocated", 125, leaves=left)
    done = host.run("--yes", HAILO_BATCH="4", **served)
    assert done.refused
    assert done.reason == f"port {served['IMMICH_PORT']} is taken."
    assert f"The container before {after}." in done.out
    assert host.state["containers"] == before
    host.change(faults={})
    assert host.run("--yes", **served).code == 0, "and the next run still knows the settings"
    assert kept(host) == AS_CHOSEN


def test_somebody_elses_that_came_meanwhile_is_left_alone(host: PlannedHost, served: dict[str, str]) -> None:
    host.fault("run -d", "Conflict. The container name is already in use", 125, leaves={})
    done = host.run("--yes", HAILO_BATCH="4", **served)
    assert done.refused
    assert "The container before is kept, stopped, as immich-ml-hailo-replaced." in done.out
    assert host.ours["labels"] == {}
    assert host.state["containers"]["immich-ml-hailo-replaced"]["status"] == "exited"


def test_an_old_one_that_cannot_be_removed_is_told_and_removed_the_next_time(
    host: PlannedHost, served: dict[str, str]
) -> None:
    host.fault("rm", "device or resource busy")
    done = host.run("--yes", HAILO_BATCH="4", **served)
    assert done.code == 0
    assert "(the old container could not be removed: docker rm -f immich-ml-hailo-replaced)" in done.out
    host.change(faults={})
    assert host.run("--yes", **served).code == 0
    assert host.changes() == ["rm"]
    assert list(host.state["containers"]) == ["immich-ml-hailo"]


def test_the_name_it_needs_meanwhile_may_be_somebody_elses(host: PlannedHost) -> None:
    host.container("immich-ml-hailo-replaced")
    done = host.run("--yes")
    assert done.refused
    assert done.reason.startswith("there is a container immich-ml-hailo-replaced that this script did not make")
    assert "docker rename immich-ml-hailo-replaced" in done.remedy
    assert host.changes() == []


@pytest.mark.parametrize("status", ["running", "paused", "restarting"])
def test_ours_has_its_port_in_every_state(host: PlannedHost, served: dict[str, str], status: str) -> None:
    host.listens(int(served["IMMICH_PORT"]))
    host.container(**{**host.ours, "status": status})
    done = host.run("--yes", **served)
    assert done.code == 0, done.err
    assert host.ours["status"] == "running"


def test_an_upgrade_and_the_way_back_keep_the_settings(host: PlannedHost, served: dict[str, str]) -> None:
    """As README and docs/templates.md have it: another release's files in this folder, then ./setup.sh."""
    code = host.checkout / "ml_target/api/app.py"
    before = host.ours["image"]
    for release, words in (("the new one", "other code"), ("the one before", "code")):
        code.write_text(words)
        assert host.run("--yes", **served).code == 0
        assert host.changes()[-4:] == ["stop", "rename", "run -d", "rm"], release
        assert list(host.state["containers"]) == ["immich-ml-hailo"]
        assert kept(host) == AS_CHOSEN
        assert (host.ours["image"] == before) == (release == "the one before")
