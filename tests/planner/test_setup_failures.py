"""setup.sh when a build, a container or the worker in it fails: what it says, and what it leaves behind."""

import re

import pytest
from setup_planned import PlannedHost
from setup_runs import ALL


@pytest.mark.parametrize(
    ("words", "reason", "remedy"),
    [
        ("E: 100 errors", "building from Dockerfile.hailo-base failed.", "Its output is above"),
        ("write /x: no space left on device", "Docker has no space left.", "docker builder prune"),
        ("HailoRT cannot be put into the image: x.deb is damaged", "HailoRT's files are not what", "download it again"),
        ("HailoRT cannot be put into the image: No space left", "Docker has no space left.", "docker builder prune"),
        ("the --mount option requires BuildKit", "this Docker's BuildKit is not complete.", "docker-buildx"),
        ("BuildKit is enabled but the buildx component is missing", "BuildKit is not complete", "DOCKER_BUILDKIT=1"),
        ("toomanyrequests: You have reached your pull rate limit", "Docker Hub lets", "BASE_IMAGE=mirror.lan"),
        ("pull access denied, repository does not exist", "the image that it begins with cannot be had.", "BASE_IMAGE"),
        ("dial tcp: lookup docker.io: no such host", "something could not be downloaded.", "HTTPS_PROXY"),
        ("Temporary failure resolving 'archive.ubuntu.com'", "something could not be downloaded.", "HTTPS_PROXY"),
    ],
)  # fmt: skip
def test_a_build_that_fails(host: PlannedHost, words: str, reason: str, remedy: str) -> None:
    host.fault("build -t hailo-base", words)
    done = host.run("--yes")
    assert done.refused
    assert reason in done.reason
    assert remedy in done.remedy
    assert words in done.out, "its own words are shown too"
    assert host.state["images"] == {}


def test_a_builder_with_images_of_its_own(host: PlannedHost) -> None:
    words = "hailo-base:v4.23.0: failed to resolve source metadata: pull access denied, repository does not exist"
    host.fault("build -t immich-ml-hailo:v4.23.0-slim", words)
    done = host.run("--yes")
    assert "the builder does not see the image hailo-base:v4.23.0 that was built before." in done.reason
    assert "docker buildx use default" in done.remedy
    host.fault("build -t immich-ml-hailo:cpu-slim", words)
    assert "the image that it begins with cannot be had" in host.run("--yes", "--cpu").reason


def test_an_interrupted_run_goes_on_where_it_stopped(host: PlannedHost) -> None:
    host.fault("build -t immich-ml-hailo:v4.23.0 ", "E: whatever")
    assert host.run("--yes").refused
    host.change(faults={})
    assert host.run("--yes").code == 0
    assert host.changes() == ALL[3:]


@pytest.mark.parametrize(
    ("words", "reason", "remedy"),
    [
        ("Bind for 0.0.0.0:65000 failed: port is already allocated", "port 65000 is taken.", "IMMICH_PORT=3004"),
        (
            'error gathering device information while adding custom device "/dev/hailo0": no such file or directory',
            "Docker could not hand /dev/hailo0 to the container: no such file or directory",
            "ls -l /dev/hailo*",
        ),
        ("no such runtime", "the container could not be started: no such runtime", "run this again"),
    ],
)
def test_a_container_that_cannot_be_started(host: PlannedHost, words: str, reason: str, remedy: str) -> None:
    host.fault("run -d", words, 125, leaves={"immich-ml-hailo.setup": "1"})
    done = host.run("--yes")
    assert done.refused
    assert done.reason == reason
    assert remedy in done.remedy
    assert host.state["containers"] == {}


def test_a_container_that_somebody_else_made_meanwhile_is_left_alone(host: PlannedHost) -> None:
    host.fault("run -d", 'Conflict. The container name "/immich-ml-hailo" is already in use', 125, leaves={})
    done = host.run("--yes")
    assert done.refused
    assert done.reason == "there is a container immich-ml-hailo that this script did not make; it is left alone."
    assert "immich-ml-hailo" in host.state["containers"]


def test_a_worker_that_dies_at_the_start(host: PlannedHost) -> None:
    host.answers = False
    host.change(dies="error: models/scrfd_2.5g.hef is damaged")
    done = host.run("--yes")
    assert done.refused
    assert "error: models/scrfd_2.5g.hef is damaged" in done.err
    assert done.reason == "the worker ended by itself; its last lines are above."
    assert "docker logs immich-ml-hailo" in done.remedy
    assert "ml_target doctor --open" in done.remedy
    assert host.ours["status"] == "exited", "it does not start over and over"
    host.run("--yes", "--cpu")
    assert "-m ml_target models" in host.run("--yes", "--cpu", SETUP_READY_S="0").remedy


def test_a_worker_that_never_gets_ready(host: PlannedHost) -> None:
    host.answers = False
    done = host.run("--yes", SETUP_READY_S="1")
    assert done.refused
    assert done.reason.startswith("the worker runs, but does not answer on port 65000 within 1 s")
    assert "SETUP_READY_S=900 ./setup.sh" in done.remedy
    assert host.ours["status"] == "running"


def test_a_patience_that_is_none_is_told_before_anything_is_done(host: PlannedHost) -> None:
    done = host.run("--yes", SETUP_READY_S="five minutes")
    assert done.refused
    assert done.reason == "SETUP_READY_S=five minutes is not a number of seconds."
    assert "SETUP_READY_S=900" in done.remedy
    assert not host.changes()


def test_waiting_is_shown(host: PlannedHost) -> None:
    host.ready_after = 2
    done = host.run("--yes", SETUP_SAY_S="0")
    assert done.code == 0
    assert len(re.findall(r"not ready yet, \d+ s\n", done.out)) == 2


def test_a_worker_that_answers_wrong(host: PlannedHost) -> None:
    host.fault("exec", "FAIL clip.visual is of unit length")
    done = host.run("--yes")
    assert done.refused
    assert done.reason == "the worker runs, but tests/test.sh found something wrong."
    assert "do not let Immich use it" in done.remedy
    assert "FAIL clip.visual" in done.err
    assert "URL" not in done.out


@pytest.mark.parametrize("call", ["stop", "rename", "start"])
def test_docker_that_does_not_obey(host: PlannedHost, served: dict[str, str], call: str) -> None:
    host.container(**{**host.ours, "status": "exited" if call == "start" else "paused"})
    host.fault(call, "device or resource busy")
    done = host.run("--yes", **served)
    assert done.refused
    assert "device or resource busy" in done.err
    assert "run this again" in done.remedy
