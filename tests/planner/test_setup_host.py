"""setup.sh on hosts that lack something: what it refuses, with which remedy, and that it has changed nothing."""

import pytest
from setup_planned import PlannedHost

from ml_target.setup.steps import Answer


def test_a_healthy_host_is_refused_nothing(host: PlannedHost) -> None:
    done = host.run("--yes", "--no-start")
    assert done.code == 0, done.err
    assert done.err == ""


# ------------------------------------------------------------------- docker


@pytest.mark.parametrize("where", ["/docker", "models"])
def test_no_space(host: PlannedHost, where: str) -> None:
    host.tools["df"] = lambda words: Answer(0, f"F\na 9 9 {1024000 if words[-1].endswith(where) else 99999999} 9% /\n")
    done = host.run("--yes")
    assert done.refused
    assert "MB, and there are 1000 MB free on the disk that holds " in done.reason
    assert where in done.reason
    assert "docker system df" in done.remedy
    assert "fetch" not in host.changes()


def test_a_disk_that_cannot_be_told_is_no_refusal(host: PlannedHost) -> None:
    host.tools["df"] = lambda words: Answer(1)
    assert host.run("--yes", "--no-start").code == 0


# --------------------------------------------------------------------- sudo


# ---------------------------------------------------------- names and ports


def test_a_container_of_that_name_that_is_not_ours(host: PlannedHost) -> None:
    host.container(labels={"com.docker.compose.project": "immich"})
    reason, remedy = host.refusal()
    assert reason == "there is a container immich-ml-hailo that this script did not make; it is left alone."
    assert "docker rename immich-ml-hailo immich-ml-hailo-before" in remedy
    assert "docker rm -f immich-ml-hailo" in remedy


def test_a_container_of_that_name_does_not_keep_images_from_being_built(host: PlannedHost) -> None:
    host.container()
    assert host.run("--yes", "--no-start").code == 0
    assert host.ours["labels"] == {}


def test_the_port_is_taken_by_a_container(host: PlannedHost) -> None:
    host.container("immich_machine_learning", ports="0.0.0.0:3003->3003/tcp, [::]:3003->3003/tcp")
    reason, remedy = host.refusal(IMMICH_PORT="3003")
    assert reason == "port 3003 is taken by the container immich_machine_learning."
    assert "docker stop immich_machine_learning" in remedy
    assert "IMMICH_PORT=3004 ./setup.sh" in remedy
    assert host.run("--yes", "--no-start", IMMICH_PORT="3004").code == 0


@pytest.mark.parametrize("file", ["tcp", "tcp6"])
def test_the_port_is_taken_by_a_program(host: PlannedHost, file: str) -> None:
    host.listens(3003, file)
    reason, remedy = host.refusal(IMMICH_PORT="3003")
    assert reason.startswith("port 3003 is taken by another program on this host")
    assert "IMMICH_PORT=3004 ./setup.sh" in remedy


@pytest.mark.parametrize("port", ["0", "70000", "http", "-1"])
def test_no_port(host: PlannedHost, port: str) -> None:
    assert host.refusal(IMMICH_PORT=port)[0] == f"IMMICH_PORT={port} is not a port."
