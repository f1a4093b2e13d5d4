"""setup.sh on a stand-in Hailo host with real containers: from a bare clone to tests/test.sh inside the container.

The host is a folder with a card's sysfs and node; docker is podman; HailoRT is the simulator; the models come from a
folder, as in a closed network. The containers share this machine's network, so port 3003 has to be free.
"""

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from balancer import ping
from hailo_sim.sysfs import make_root
from hailo_worker import wait_until
from project import SHARED
from standin_docker import Docker, make_node
from standin_hailort import VERSION, wheel_name, write_wheel

from ml_target.catalogue import files

CONTAINER, WORKER = "immich-ml-hailo", "immich-ml-hailo:v4.23.0"
COMPLETE = SHARED.is_dir()
"""Whether networks for faces are here. Without them their task is off, and setup.sh is told to go on."""
PASSED = re.compile(r"^(\d+) passed, 0 failed$", re.MULTILINE)
BUILT = re.compile(r"^    building (\S+)$", re.MULTILINE)


class Host:
    """A machine with a card, and a bare clone on it."""

    def __init__(self, docker: Docker, clone: Path, mirror: Path, home: Path) -> None:
        self.clone = shutil.copytree(clone, home / "a clone")
        self.models = self.clone / "models"
        if docker.base.python != "3.12":  # setup.sh wants the wheel of the image's Python, the build takes the base's
            write_wheel(self.clone / "hailo-rt-4" / wheel_name(), VERSION)
        root = make_root(home / "root")
        (root / "proc").symlink_to("/proc")
        (root / "sys" / "fs" / "cgroup").mkdir(parents=True)  # where the container's own is mounted
        (root / "dev" / "hailo0").unlink()
        node = make_node(root / "dev" / "hailo0", 0o660)
        environment = {"CARD_NODE": str(node), "CARD_SYS": str(root / "sys"), "PODMAN_NETWORK": "host"}
        self.docker = Docker(docker.home, docker.base, docker.environment | environment)
        self.settings = {"SETUP_ROOT": str(root), "MODELS_MIRROR": str(mirror), "NO_COLOR": "1"}

    def set_up(self, options: str) -> subprocess.CompletedProcess[str]:
        return self.docker.shell(f"./setup.sh {options}", cwd=self.clone, **self.settings)

    def paste(self, line: str) -> subprocess.CompletedProcess[str]:
        """A line that was printed, in the clone; of the internet there is nothing but the mirror."""
        nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "PIP_NO_INDEX": "1"}
        return self.docker.shell(line, cwd=self.clone, **self.settings, **nowhere)

    def id_of(self, container: str) -> str:
        return self.docker.told("inspect", "--format", "{{.Id}} {{.State.StartedAt}} {{.State.Running}}", container)


@pytest.fixture(scope="module")
def host(docker: Docker, clone: Path, card_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", 3003))
        except OSError as error:
            pytest.skip(f"port 3003 is not free on this machine ({error.strerror}): stop what has it")
    made = Host(docker, clone, card_models, tmp_path_factory.mktemp("host"))
    # Of test_images.py only the layers are left: nothing has a name on a bare host.
    there = docker.told("images", "--filter", "dangling=false", "--format", "{{.Repository}}:{{.Tag}}").split()
    for number, image in enumerate(there):
        if not image.startswith("docker.io/"):
            docker.told("tag", image, f"before:{number}")  # podman would find before/NAME under NAME, too
            docker.told("rmi", image)
    try:
        yield made
    finally:
        for name in made.docker.told("ps", "-a", "--format", "{{.Names}}").split():
            made.docker("rm", "-f", name)


@pytest.fixture(scope="module")
def first(host: Host) -> str:
    """What the first run on the bare host printed."""
    done = host.set_up("--yes" if COMPLETE else "--yes --missing-ok")
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_from_a_bare_clone_to_a_passing_test(host: Host, first: str) -> None:
    assert BUILT.findall(first) == ["hailo-base:v4.23.0", f"{WORKER}-slim", WORKER]
    assert "the card is a hailo8\n" in first
    passed = PASSED.search(first)
    assert passed
    assert int(passed[1]) > 40
    closing = first[passed.end() :]
    assert "The worker is ready, and tests/test.sh has passed." in closing
    assert re.search(r"^    URL         http://[^\s/:]+:3003$", closing, re.MULTILINE)
    assert "CLIP model  ViT-B-32__openai  (512 numbers)" in closing
    assert ("their tasks are OFF" in closing) == (not COMPLETE)
    assert (host.models / files.SIGLIP_VOCABULARY.name).is_file(), "both backends are in the image"
    with urlopen("http://127.0.0.1:3003/status", timeout=10) as answer:
        status = json.load(answer)
    assert (status["engine"], status["ready"]) == ("hailo", True)
    assert status["tasks"]["facial-recognition"]["on"] == COMPLETE


def test_a_second_run_changes_nothing(host: Host, first: str) -> None:
    assert "building" in first
    before = host.id_of(CONTAINER), _files(host.clone)
    done = host.set_up("--yes" if COMPLETE else "--yes --missing-ok")
    assert done.returncode == 0, done.stdout
    assert not BUILT.search(done.stdout)
    assert "    immich-ml-hailo runs, and nothing has changed\n" in done.stdout
    assert PASSED.search(done.stdout)
    assert (host.id_of(CONTAINER), _files(host.clone)) == before


def test_a_host_without_python_plans_inside_the_image(host: Host, first: str, tmp_path: Path) -> None:
    """As on Unraid; the planner is this clone's, which nobody but its owner can read, and sees the card."""
    assert first
    for name in ("python3", *(f"python3.{minor}" for minor in range(10, 15))):
        (tmp_path / name).write_text("#!/bin/sh\nexit 127\n")
        (tmp_path / name).chmod(0o755)
    before = host.id_of(CONTAINER), _files(host.clone)
    done = host.docker.shell(
        f'PATH="{tmp_path}:$PATH" ./setup.sh --dry-run --missing-ok', cwd=host.clone, **host.settings
    )
    assert done.returncode == 0, done.stdout
    assert "hailo_pci 4.23.0, /dev/hailo0\n" in done.stdout
    assert f"    {WORKER} is there, and nothing has changed\n" in done.stdout
    assert "    immich-ml-hailo runs, and nothing has changed\n" in done.stdout
    assert (host.id_of(CONTAINER), _files(host.clone)) == before


def _files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if not path.name.startswith(".fetching")}


def test_the_first_things_to_run(host: Host, first: str) -> None:
    """The lines that the README and the closing words tell a new owner to paste into a report."""
    docker = host.docker
    for command in ("ml_target doctor", "ml_target selfcheck"):
        assert f"docker exec immich-ml-hailo python3 -m {command}\n" in first
    told = docker.shell("docker exec immich-ml-hailo python3 -m ml_target doctor").stdout
    assert "hailo_pci 4.23.0" in told
    # Faces only where their networks are beside this checkout.
    assert not [line for line in told.splitlines() if line.startswith("WRONG") and "facial-recog" not in line], told
    # The simulator's cards are one for each process, so the card is free beside the worker.
    checked = docker.shell("docker exec immich-ml-hailo python3 -m ml_target selfcheck")
    verdicts = _verdicts(checked.stdout)
    assert verdicts, checked.stdout
    # Smart search's networks on the simulated card answer hashes of their input, which selfcheck has to call WRONG.
    assert verdicts["clip.visual"] == "WRONG", checked.stdout
    assert _of_ocr(verdicts) == dict.fromkeys(READS_RIGHT, "not checked"), checked.stdout
    assert checked.returncode == 1
    (printed,) = set(PRINTED.findall(checked.stdout))
    held = docker.shell(
        "docker exec -e HAILO_SIM_FAULTS=refuse_open:1:74 immich-ml-hailo python3 -m ml_target selfcheck"
    )
    assert "the card is held by " in held.stdout
    assert held.returncode == 3
    assert PRINTED.findall(held.stdout) == [printed], "the same, whoever has the card"

    assert not list(host.models.glob("*.onnx"))
    followed = host.paste(printed)
    assert _of_ocr(_verdicts(followed.stdout)) == READS_RIGHT, followed.stdout
    assert host.id_of(CONTAINER).endswith(" true")


READS_RIGHT = {"ocr.detection": "right", "ocr.recognition": "right", "ocr": "right"}
PRINTED = re.compile(r"^ +-> On the host, in this project's folder: (.*)$", re.MULTILINE)


def _of_ocr(verdicts: dict[str, str]) -> dict[str, str]:
    return {task: verdict for task, verdict in verdicts.items() if task.startswith("ocr")}


def _verdicts(report: str) -> dict[str, str]:
    """What selfcheck says of each task."""
    found = re.findall(r"^(right|near|WRONG|not checked) +((?:clip|faces|ocr)[.\w]*)(?= )", report, re.MULTILINE)
    return {task: verdict for verdict, task in found}


def test_compose_puts_its_own_in_the_place(host: Host, first: str) -> None:
    """The lines of docs/hosts.md, with the Compose that podman has."""
    compose = Path(sys.executable).with_name("podman-compose")
    if not compose.is_file():
        pytest.skip("podman-compose is not installed (it is with ./setup.sh test)")
    docker = host.docker
    docker("rm", "-f", CONTAINER)
    try:
        up = docker.shell(f"{compose} --podman-path $(command -v docker) up -d --build", cwd=host.clone)
        assert up.returncode == 0, up.stdout
        wait_until(lambda: ping("127.0.0.1:3003") == 200, 60)
        tested = docker.shell("docker exec immich-ml-hailo bash /app/tests/test.sh /app/tests/test.jpg")
        assert PASSED.search(tested.stdout), tested.stdout
        assert docker("exec", CONTAINER, "touch", "/app/here").returncode, "nothing can be written"
        inspected = json.loads(docker.told("inspect", CONTAINER))[0]
        assert inspected["HostConfig"]["ReadonlyRootfs"]
        assert not inspected["EffectiveCaps"]
    finally:
        docker.shell(f"{compose} --podman-path $(command -v docker) down", cwd=host.clone)
        docker("rm", "-f", CONTAINER)


def test_without_a_card(host: Host) -> None:
    """On the processor, with the models for text alone; what is not to be had is told, its tasks are off."""
    done = host.set_up("--cpu --yes --missing-ok")
    assert done.returncode == 0, done.stdout
    assert BUILT.findall(done.stdout) == ["immich-ml-hailo:cpu-slim", "immich-ml-hailo:cpu"]
    assert "going on without them" in done.stdout
    passed = PASSED.search(done.stdout)
    assert passed
    assert "ocr: reads" in done.stdout
    assert "their tasks are OFF" in done.stdout[passed.end() :]
    with urlopen("http://127.0.0.1:3003/status", timeout=10) as answer:
        status = json.load(answer)
    assert (status["engine"], status["tasks"]["ocr"]["on"]) == ("cpu", True)


def test_a_container_of_somebody_else_is_left_alone(host: Host, first: str) -> None:
    """Refused, in its place and as it was; the remedy that is printed then works."""
    assert first
    docker = host.docker
    docker("rm", "-f", CONTAINER)
    program = "trap 'exit 0' TERM; sleep 600 & wait"
    docker.told("run", "-d", "--name", CONTAINER, "--entrypoint", "bash", WORKER, "-c", program)
    before = host.id_of(CONTAINER)
    done = host.set_up("--yes")
    assert done.returncode == 1
    assert "there is a container immich-ml-hailo that this script did not make; it is left alone." in done.stdout
    assert host.id_of(CONTAINER) == before
    assert before.endswith(" true")
    (remedy,) = re.findall(r"To keep it: (docker stop .*)", done.stdout)
    assert docker.shell(remedy).returncode == 0
    assert docker.told("ps", "-a", "--format", "{{.Names}}") == f"{CONTAINER}-before"
