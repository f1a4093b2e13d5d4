"""setup.sh on hosts that lack something: what it refuses, with which remedy, and that it has changed nothing."""

import pytest
from setup_host import SetupHost


def test_a_healthy_host_is_refused_nothing(host: SetupHost) -> None:
    done = host.run("--yes", "--no-start")
    assert done.code == 0, done.err
    assert done.err == ""


# ------------------------------------------------------------------- docker


def test_no_docker(host: SetupHost) -> None:
    (host.bin / "docker").unlink()
    reason, remedy = host.refusal()
    assert reason == "Docker is not here."
    assert "sudo apt-get install docker.io" in remedy
    assert "Unraid: Settings, Docker" in remedy
    assert "./setup.sh serve" in remedy


@pytest.mark.parametrize(
    ("words", "reason", "remedy"),
    [
        (
            "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
            "may not use it.",
            "sudo usermod -aG docker ",
        ),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "its daemon does not run.",
            "sudo systemctl start docker",
        ),
        ("client version 1.99 is too new", "Docker does not answer: client version 1.99", "docker ps"),
    ],
)
def test_docker_that_does_not_serve(host: SetupHost, words: str, reason: str, remedy: str) -> None:
    host.fault("ps", words)
    found = host.refusal()
    assert reason in found[0]
    assert remedy in found[1]


def test_docker_of_another_machine(host: SetupHost) -> None:
    reason, remedy = host.refusal(DOCKER_HOST="ssh://nas")
    assert reason.startswith("DOCKER_HOST=ssh://nas is another machine")
    assert "env -u DOCKER_HOST" in remedy


@pytest.mark.parametrize("where", ["/docker", "models"])
def test_no_space(host: SetupHost, where: str) -> None:
    host.script(
        "df", f"#!/bin/sh\necho F\ncase $3 in *{where}) echo /dev/sda 9 9 1024000 9% /;; *) echo a 9 9 99999999;; esac"
    )
    done = host.run("--yes")
    assert done.refused
    assert "MB, and there are 1000 MB free on the disk that holds " in done.reason
    assert where in done.reason
    assert "docker system df" in done.remedy
    assert "fetch" not in host.changes()


def test_a_disk_that_cannot_be_told_is_no_refusal(host: SetupHost) -> None:
    host.script("df", "#!/bin/sh\nexit 1")
    assert host.run("--yes", "--no-start").code == 0


# --------------------------------------------------------------------- sudo


def test_sudo_is_told_with_what_the_run_was_given(host: SetupHost) -> None:
    host.fault("ps", "permission denied while trying to connect to the Docker daemon socket")
    remedy = host.refusal(
        "--clip-backend", "siglip", FACE_DETECTOR="scrfd_10g", MODELS_MIRROR="/a b", IMMICH_PORT="3004"
    )[1]
    given = r"FACE_DETECTOR=scrfd_10g IMMICH_PORT=3004 MODELS_MIRROR=/a\ b"
    assert f"Run: sudo {given} ./setup.sh --yes --clip-backend siglip\n" in remedy


def test_what_sudo_would_drop_is_put_behind_it(host: SetupHost) -> None:
    host.container("other", ports="0.0.0.0:3003->3003/tcp")
    taken = {"IMMICH_PORT": "3003"}
    assert "one: IMMICH_PORT=3004 ./setup.sh" in host.refusal(**taken)[1]
    assert "one: sudo IMMICH_PORT=3004 ./setup.sh" in host.refusal(**taken, SUDO_USER="me")[1]
    assert "(sudo env -u MODELS_DIR ./setup.sh)" in host.refusal(MODELS_DIR="/data", SUDO_USER="me")[1]
    host.no_card()
    assert "on the processor: sudo ./setup.sh --cpu" in host.refusal(SUDO_USER="me")[1]
    host.fault("ps", "permission denied")
    assert "Run: sudo IMMICH_PORT=65000 ./setup.sh --yes\n" in host.refusal(SUDO_USER="me")[1]


def test_sudo_is_told_no_password(host: SetupHost) -> None:
    host.fault("ps", "permission denied while trying to connect to the Docker daemon socket")
    secrets = {"MODELS_MIRROR": "http://me:hun@ter2@files.lan/x", "HF_ENDPOINT": "https://hunter2@hub.lan"}
    remedy = host.refusal(**secrets)[1]
    assert "ter2" not in remedy
    assert r"MODELS_MIRROR=http://\*\*\*@files.lan/x HF_ENDPOINT=https://\*\*\*@hub.lan ./setup.sh" in remedy


# ---------------------------------------------------------- names and ports


def test_a_container_of_that_name_that_is_not_ours(host: SetupHost) -> None:
    host.container(labels={"com.docker.compose.project": "immich"})
    reason, remedy = host.refusal()
    assert reason == "there is a container immich-ml-hailo that this script did not make; it is left alone."
    assert "docker rename immich-ml-hailo immich-ml-hailo-before" in remedy
    assert "docker rm -f immich-ml-hailo" in remedy


def test_a_container_of_that_name_does_not_keep_images_from_being_built(host: SetupHost) -> None:
    host.container()
    assert host.run("--yes", "--no-start").code == 0
    assert host.ours["labels"] == {}


def test_the_port_is_taken_by_a_container(host: SetupHost) -> None:
    host.container("immich_machine_learning", ports="0.0.0.0:3003->3003/tcp, [::]:3003->3003/tcp")
    reason, remedy = host.refusal(IMMICH_PORT="3003")
    assert reason == "port 3003 is taken by the container immich_machine_learning."
    assert "docker stop immich_machine_learning" in remedy
    assert "IMMICH_PORT=3004 ./setup.sh" in remedy
    assert host.run("--yes", "--no-start", IMMICH_PORT="3004").code == 0


@pytest.mark.parametrize("file", ["tcp", "tcp6"])
def test_the_port_is_taken_by_a_program(host: SetupHost, file: str) -> None:
    host.listens(3003, file)
    reason, remedy = host.refusal(IMMICH_PORT="3003")
    assert reason.startswith("port 3003 is taken by another program on this host")
    assert "IMMICH_PORT=3004 ./setup.sh" in remedy


@pytest.mark.parametrize("port", ["0", "70000", "http", "-1"])
def test_no_port(host: SetupHost, port: str) -> None:
    assert host.refusal(IMMICH_PORT=port)[0] == f"IMMICH_PORT={port} is no port."
