"""What the containers of setup.sh may do and take."""

import shlex
import shutil
import subprocess

import pytest
from project import PROJECT
from setup_host import SetupHost
from setup_runs import CONFINED, Worker


def test_files_can_be_copied_into_the_container_as_the_readme_has_it(host: SetupHost, served: dict[str, str]) -> None:
    """Below a read-only root Docker's cp takes volumes alone, and a tmpfs is none to it."""
    assert served
    shutil.copy(PROJECT / "tests" / "test.jpg", host.checkout / "tests")
    assert host.ours["read_only"]
    for line in (
        "docker cp tests/test.sh immich-ml-hailo:/tmp/test.sh",
        "docker cp tests/test.jpg immich-ml-hailo:/tmp/test.jpg",
        "docker exec immich-ml-hailo bash /tmp/test.sh /tmp/test.jpg",
    ):
        done = subprocess.run(shlex.split(line), cwd=host.checkout, env={"PATH": str(host.bin)}, capture_output=True)
        assert done.returncode == 0, done.stderr
    elsewhere = [str(host.bin / "docker"), "cp", "tests/test.sh", "immich-ml-hailo:/app/test.sh"]
    done = subprocess.run(elsewhere, cwd=host.checkout, capture_output=True)
    assert b"container rootfs is marked read-only" in done.stderr


def test_every_container_is_confined(host: SetupHost, served: dict[str, str]) -> None:
    """Also those that ask the card, look over the settings and fetch, which go as they end."""
    host.run("--yes", FACE_DETECTOR="scrfd_10g", **served)
    runs = [words for words in host.calls() if words[0] == "run"]
    assert len(runs) >= 4
    for words in runs:
        at = words.index("--read-only")
        assert words[at : at + len(CONFINED)] == CONFINED
        assert "--privileged" not in words
        assert "--cap-add" not in words


def test_the_memory_that_it_may_take_is_chosen_and_kept(host: SetupHost, worker: Worker) -> None:
    port = {"IMMICH_PORT": str(worker.port)}
    host.run("--yes", CONTAINER_MEMORY="8g", **port)
    assert "8g" in host.call("run", "-d")
    assert host.run("--yes", **port).code == 0
    assert host.changes() == [], "kept"
    host.run("--yes", CONTAINER_MEMORY="", **port)
    assert "4g" in host.call("run", "-d")
    host.run("--yes", MEMORY_MB="2560", **port)
    assert "5222m" in host.call("run", "-d"), "it grows with what pictures may take"


@pytest.mark.parametrize("value", ["6", "6x", "-1g", "much", "6g 7g", "0g"])
def test_a_memory_that_is_no_size(host: SetupHost, value: str) -> None:
    done = host.run("--yes", CONTAINER_MEMORY=value)
    assert done.refused
    assert done.reason == f"CONTAINER_MEMORY={value} is no size."
    assert "CONTAINER_MEMORY=6g" in done.remedy
    assert host.changes() == []


def test_what_docker_has_to_say_of_a_container_that_runs(host: SetupHost, worker: Worker) -> None:
    host.change(warns="WARNING: Your kernel does not support memory limit capabilities. Limitation discarded.")
    done = host.run("--yes", IMMICH_PORT=str(worker.port))
    assert done.code == 0, done.err
    assert "(Docker says: WARNING: Your kernel does not support memory limit" in done.out
