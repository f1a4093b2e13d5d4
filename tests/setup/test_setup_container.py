"""setup.sh from the first image to the last word, with a stand-in docker: first run, second run, and what fails."""

import re
import shlex
import shutil
import socket
import struct
import subprocess
from contextlib import suppress
from threading import Event, Thread

import pytest
from setup_host import PROJECT, SetupHost, Worker

from ml_target.catalogue.networks import CLIP_BACKENDS

ALL = [
    "build hailo-base:v4.23.0",
    "build immich-ml-hailo:v4.23.0-slim",
    "fetch",
    "build immich-ml-hailo:v4.23.0",
    "run -d",
]
CONFINED = shlex.split("--read-only -v /tmp --cap-drop all --security-opt no-new-privileges --pids-limit 4096")
REPLACED = ["stop", "rename", "run -d", "rm"]
CPU = ["build immich-ml-hailo:cpu-slim", "fetch", "build immich-ml-hailo:cpu", "run -d"]


@pytest.fixture
def served(host: SetupHost, worker: Worker) -> dict[str, str]:
    """The environment of a host on which setup.sh has been through once."""
    environment = {"IMMICH_PORT": str(worker.port)}
    done = host.run("--yes", **environment)
    assert done.code == 0, done.err
    return environment


# ---------------------------------------------------------------- first run


def test_from_a_bare_host_to_a_tested_worker(host: SetupHost, worker: Worker) -> None:
    worker.not_ready = 2
    done = host.run("--yes", "--clip-backend", "siglip", IMMICH_PORT=str(worker.port))
    assert done.code == 0, done.err
    assert done.err == ""
    assert host.changes() == ALL
    assert host.call("run", "-d") == [
        "run", "-d", "--device=/dev/hailo0:/dev/hailo0", f"--group-add={host.group}",
        "--publish", f"{worker.port}:3003", "-e", "CLIP_BACKEND=siglip",
        *CONFINED, "--memory", "4g",
        "--name", "immich-ml-hailo", "--restart", "unless-stopped", "--stop-timeout", "30",
        "--label", "immich-ml-hailo.setup=1", "--label",
        f"immich-ml-hailo.settings=IMMICH_PORT={worker.port} CLIP_BACKEND=siglip LIMIT=4g"
        f" DEVICE=/dev/hailo0 GROUP={host.group}",
        "immich-ml-hailo:v4.23.0",
    ]  # fmt: skip
    assert host.call("exec") == [
        "exec", "immich-ml-hailo", "bash", "/app/tests/test.sh", "--expect-all", "/app/tests/test.jpg",
    ]  # fmt: skip
    assert "80 passed, 0 failed" in done.out
    assert "OFF" not in done.out
    assert f"URL         http://192.168.1.20:{worker.port}" in done.out
    assert "CLIP model  ViT-B-16-SigLIP__webli" in done.out
    assert "docker exec immich-ml-hailo python3 -m ml_target.selfcheck" in done.out
    assert "docker exec immich-ml-hailo python3 -m ml_target.doctor" in done.out
    assert host.ours["environment"] == ["CLIP_BACKEND=siglip"]


def test_the_steps_are_counted(host: SetupHost, worker: Worker) -> None:
    out = host.run("--yes", IMMICH_PORT=str(worker.port)).out
    assert re.findall(r"^\[(\d/\d)\]", out, re.MULTILINE) == [f"{n}/7" for n in range(1, 8)]
    out = host.run("--yes", "--cpu", IMMICH_PORT=str(worker.port)).out
    assert re.findall(r"^\[(\d/\d)\]", out, re.MULTILINE) == [f"{n}/6" for n in range(1, 7)]


def test_the_images_are_built_as_the_readme_has_it(host: SetupHost, worker: Worker) -> None:
    host.run("--yes", IMMICH_PORT=str(worker.port))
    base = host.call("build", "-t", "hailo-base:v4.23.0")
    slim = host.call("build", "-t", "immich-ml-hailo:v4.23.0-slim")
    full = host.call("build", "-t", "immich-ml-hailo:v4.23.0")
    assert base[-3:] == ["-f", "Dockerfile.hailo-base", "."]
    assert slim[-3:] == full[-3:] == ["-f", "Dockerfile.immich-ml-hailo", "."]
    assert "MODELS=none" in slim
    assert not any(word.startswith(("MODELS=", "BASE_IMAGE=")) for word in full)


def test_the_processor_alone(host: SetupHost, worker: Worker) -> None:
    host.no_card()
    host.no_packages()
    done = host.run("--yes", "--cpu", IMMICH_PORT=str(worker.port))
    assert done.code == 0, done.err
    assert host.changes() == CPU
    assert "BASE_IMAGE=ubuntu:24.04" in host.call("build", "-t", "immich-ml-hailo:cpu")
    start = host.call("run", "-d")
    assert not any("hailo0" in word or "--group-add" in word for word in start)
    assert host.ours["environment"] == ["CLIP_BACKEND=tinyclip", "ENGINE=cpu"]
    assert "models fetch --engine cpu --clip-backend tinyclip" in " ".join(host.calls()[-6])
    assert "selfcheck" not in done.out


def test_engine_cpu_is_the_same(host: SetupHost, worker: Worker) -> None:
    host.run("--yes", ENGINE="cpu", IMMICH_PORT=str(worker.port))
    assert host.changes() == CPU


@pytest.mark.parametrize("cpu", [False, True])
def test_another_base_image(host: SetupHost, cpu: bool) -> None:
    host.run("--yes", "--no-start", *(["--cpu"] if cpu else []), BASE_IMAGE="mirror.lan/ubuntu:24.04")
    builds = [words for words in host.calls() if words[0] == "build"]
    assert ["BASE_IMAGE=mirror.lan/ubuntu:24.04" in words for words in builds] == (
        [True, True] if cpu else [True, False, False]
    )


def test_a_proxy_is_handed_to_builds_and_downloads(host: SetupHost) -> None:
    pip = {"PIP_INDEX_URL": "http://pip.lan", "PIP_CERT": "/etc/of/this/host.pem"}
    host.run("--yes", "--no-start", HTTPS_PROXY="http://user:secret@proxy.lan:3128", **pip)
    for words in host.calls():
        if words[0] == "build":
            assert words[words.index("HTTPS_PROXY") - 1] == "--build-arg"
        if "models" in words:
            assert words[words.index("HTTPS_PROXY") - 1] == words[words.index("PIP_INDEX_URL") - 1] == "-e"
        assert "secret" not in " ".join(words), "other users see command lines"
        if "ml_target.diagnostics.settings" not in words:  # which is told the names of all variables
            assert "PIP_CERT" not in words, "there is no such file inside"


def test_no_start(host: SetupHost) -> None:
    done = host.run("--yes", "--no-start")
    assert done.code == 0, done.err
    assert host.changes() == ALL[:-1]
    assert host.state["containers"] == {}
    assert "$ docker run -d --device=/dev/hailo0:/dev/hailo0" in done.out
    assert "The image immich-ml-hailo:v4.23.0 is ready." in done.out
    assert "has passed" not in done.out


@pytest.mark.parametrize("backend", [*CLIP_BACKENDS, "auto"])
def test_the_name_for_immich(host: SetupHost, backend: str) -> None:
    out = host.run("--yes", "--no-start", "--clip-backend", backend).out
    line = next(line for line in out.splitlines() if "CLIP model" in line)
    for known in CLIP_BACKENDS.values():
        assert (known.immich_name in line) == (backend in (known.name, "auto"))
    for known in CLIP_BACKENDS.values():
        if known.name == backend:
            assert f"({known.width} numbers)" in line
    assert ("tinyclip hides behind this name" in out) == (backend == "tinyclip")


@pytest.mark.parametrize(
    ("files", "address"),
    [
        ({}, "192.168.1.20"),
        ({"proc/net/route": "Iface Destination\n"}, "nas"),
        ({"proc/net/route": "", "proc/sys/kernel/hostname": ""}, "THIS-HOST"),
    ],
)
def test_the_address_of_this_host(host: SetupHost, files: dict[str, str], address: str) -> None:
    host.system(files)
    assert f"URL         http://{address}:65000" in host.run("--yes", "--no-start").out


# --------------------------------------------------------------- second run


def test_a_second_run_finds_everything_there(host: SetupHost, served: dict[str, str]) -> None:
    done = host.run(**served)  # and asks nothing
    assert done.code == 0, done.err
    assert host.changes() == []
    assert "immich-ml-hailo runs, and nothing has changed" in done.out
    assert "80 passed" in done.out


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("hailo-rt-4/hailort_4.23.0_amd64.deb", [ALL[0], ALL[1], ALL[3], *REPLACED]),
        ("Dockerfile.hailo-base", [ALL[0], ALL[1], ALL[3], *REPLACED]),
        ("ml_target/api/app.py", [ALL[1], ALL[3], *REPLACED]),
        ("ml_target/deep/er.py", [ALL[1], ALL[3], *REPLACED]),
        ("tests/test.sh", [ALL[1], ALL[3], *REPLACED]),
        ("models/mine.hef", [ALL[3], *REPLACED]),
        ("requirements.txt", [ALL[1], ALL[3], *REPLACED]),
        ("LICENSE", [ALL[1], ALL[3], *REPLACED]),
        ("scripts/unpack.sh", [ALL[0], ALL[1], ALL[3], *REPLACED]),
        ("README.md", []),
        ("tests/test_app.py", []),
        ("models/checksums.json", []),
        ("models/x.hef.part", []),
        ("models/x.zip.whole", []),
        ("ml_target/__pycache__/app.pyc", []),
        (".git/HEAD", []),
    ],
)
def test_only_what_has_changed_is_built_again(
    host: SetupHost, served: dict[str, str], name: str, changes: list[str]
) -> None:
    path = host.checkout / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("!<arch> more")
    assert host.run("--yes", **served).code == 0
    assert host.changes() == changes


@pytest.mark.parametrize("name", ["Dockerfile.hailo-base", "Dockerfile.immich-ml-hailo"])
def test_the_dockerfiles_copy_in_a_way_that_is_understood(name: str) -> None:
    """`copied_files` reads plain COPY lines; what came into an image otherwise would be missed when it changes."""
    if not (PROJECT / name).exists():
        pytest.skip(f"{name} is not there")
    text = (PROJECT / name).read_text()
    assert not re.findall(
        r"^\s*ADD\s|^\s+COPY\s|^copy\s|^COPY\s.*\\$|^COPY\s+(?:--\S+\s+)*\[|type=bind", text, re.MULTILINE
    )
    for words in re.findall(r"^COPY\s+((?:(?!--from=).)*)$", text, re.MULTILINE):
        for source in [word for word in words.split()[:-1] if not word.startswith("--")]:
            assert list(PROJECT.glob(source.rstrip("/"))), f"{name} copies {source}, which is not there"


def test_an_image_made_by_hand_is_made_again(host: SetupHost, served: dict[str, str]) -> None:
    images = host.state["images"]
    images["immich-ml-hailo:v4.23.0"] = {"id": "sha256:other", "labels": images["hailo-base:v4.23.0"]["labels"]}
    host.change(images=images)
    host.run("--yes", **served)
    assert host.changes() == [ALL[3]], "and it is then what the container has already"


def test_a_new_driver_makes_new_images(host: SetupHost, served: dict[str, str]) -> None:
    host.system({"sys/module/hailo_pci/version": "4.24.0"})
    host.package("hailort_4.24.0_amd64.deb")
    host.package("hailort-4.24.0-cp312-cp312-linux_x86_64.whl")
    host.run("--yes", **served)
    new = [change.replace("4.23", "4.24") for change in ALL if change not in ("fetch", "run -d")]
    assert host.changes() == [*new, *REPLACED]


def test_settings_are_handed_on_and_kept(host: SetupHost, served: dict[str, str]) -> None:
    host.run("--yes", FACE_DETECTOR="scrfd_10g", CLIP_BACKEND="siglip", **served)
    assert host.changes() == REPLACED
    kept = ["CLIP_BACKEND=siglip", "FACE_DETECTOR=scrfd_10g"]
    assert host.ours["environment"] == kept
    del served["IMMICH_PORT"]
    done = host.run(IMMICH_PORT="")
    assert done.code == 0, "the port is kept too, and there is nothing to ask"
    assert host.changes() == []
    host.run("--yes", FACE_DETECTOR="", IMMICH_PORT="")
    assert host.changes() == REPLACED
    assert host.ours["environment"] == kept[:1]


def test_a_dry_run_asks_nothing(host: SetupHost, served: dict[str, str]) -> None:
    done = host.run("--dry-run", "--clip-backend", "siglip", **served)
    assert done.code == 0, done.err
    assert "Vectors of two backends do not mix" in done.out
    shown = re.findall(r"\$ docker (stop|rename|run -d|rm)\b", done.out)
    assert shown == REPLACED
    assert host.changes() == []


def test_a_change_of_backend_is_asked_about(host: SetupHost, served: dict[str, str]) -> None:
    done = host.run("--clip-backend", "siglip", **served)
    assert done.reason == "this needs an answer, and there is nobody to ask: Change it?"
    done = host.run_in_terminal("n\n", "--clip-backend", "siglip", **served)
    assert done.reason == "stopped; nothing was changed."
    assert "Vectors of two backends do not mix" in done.out
    assert host.changes() == []
    assert host.run_in_terminal("y\ny\n", "--clip-backend", "siglip", **served).code == 0
    assert host.changes() == REPLACED


def test_a_container_that_was_stopped_is_started(host: SetupHost, served: dict[str, str]) -> None:
    host.container(**{**host.ours, "status": "exited"})
    assert host.run("--yes", **served).code == 0
    assert host.changes() == ["start"]


@pytest.mark.parametrize("status", ["created", "dead", "restarting", "paused"])
def test_a_container_in_a_strange_state_is_made_anew(host: SetupHost, served: dict[str, str], status: str) -> None:
    host.container(**{**host.ours, "status": status})
    assert host.run("--yes", **served).code == 0
    assert host.changes() == (REPLACED if status in ("restarting", "paused") else REPLACED[1:])


def test_a_port_that_was_taken_meanwhile(host: SetupHost, served: dict[str, str]) -> None:
    host.container(**{**host.ours, "status": "exited"})
    host.listens(int(served["IMMICH_PORT"]))
    done = host.run("--yes", **served)
    assert done.reason.startswith(f"port {served['IMMICH_PORT']} is taken by another program")
    assert host.changes() == []


def test_ours_may_have_its_port(host: SetupHost, served: dict[str, str]) -> None:
    host.listens(int(served["IMMICH_PORT"]))
    assert host.run("--yes", FACE_DETECTOR="scrfd_10g", **served).code == 0
    assert host.changes() == REPLACED


def test_other_containers_are_never_touched(host: SetupHost, worker: Worker) -> None:
    host.container("immich_server", ports="0.0.0.0:2283->2283/tcp")
    host.container("immich-ml-hailo-before")
    before = host.state["containers"]
    host.run("--yes", IMMICH_PORT=str(worker.port))
    host.run("--yes", "--clip-backend=siglip", IMMICH_PORT=str(worker.port))
    assert host.changes() == REPLACED
    after = host.state["containers"]
    assert {name: after[name] for name in before} == before
    named = {words[-1] for words in host.calls() if words[0] in ("rm", "stop", "start", "rename")}
    assert named == {"immich-ml-hailo", "immich-ml-hailo-replaced"}


# ----------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("words", "reason", "remedy"),
    [
        ("E: 100 errors", "building from Dockerfile.hailo-base failed.", "stand above"),
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
def test_a_build_that_fails(host: SetupHost, words: str, reason: str, remedy: str) -> None:
    host.fault("build -t hailo-base", words)
    done = host.run("--yes")
    assert done.refused
    assert reason in done.reason
    assert remedy in done.remedy
    assert words in done.out, "its own words are shown too"
    assert host.state["images"] == {}


def test_a_builder_with_images_of_its_own(host: SetupHost) -> None:
    words = "hailo-base:v4.23.0: failed to resolve source metadata: pull access denied, repository does not exist"
    host.fault("build -t immich-ml-hailo:v4.23.0-slim", words)
    done = host.run("--yes")
    assert "the builder does not see the image hailo-base:v4.23.0 that was built before." in done.reason
    assert "docker buildx use default" in done.remedy
    host.fault("build -t immich-ml-hailo:cpu-slim", words)
    assert "the image that it begins with cannot be had" in host.run("--yes", "--cpu").reason


def test_an_interrupted_run_goes_on_where_it_stopped(host: SetupHost, worker: Worker) -> None:
    host.fault("build -t immich-ml-hailo:v4.23.0 ", "E: whatever")
    assert host.run("--yes").refused
    host.change(faults={})
    assert host.run("--yes", IMMICH_PORT=str(worker.port)).code == 0
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
def test_a_container_that_cannot_be_started(host: SetupHost, words: str, reason: str, remedy: str) -> None:
    host.fault("run -d", words, 125, leaves={"immich-ml-hailo.setup": "1"})
    done = host.run("--yes")
    assert done.refused
    assert done.reason == reason
    assert remedy in done.remedy
    assert host.state["containers"] == {}


def test_a_container_that_somebody_else_made_meanwhile_is_left_alone(host: SetupHost) -> None:
    host.fault("run -d", 'Conflict. The container name "/immich-ml-hailo" is already in use', 125, leaves={})
    done = host.run("--yes")
    assert done.refused
    assert done.reason == "there is a container immich-ml-hailo that this script did not make; it is left alone."
    assert "immich-ml-hailo" in host.state["containers"]


def test_a_worker_that_dies_at_the_start(host: SetupHost) -> None:
    host.change(dies="error: models/scrfd_2.5g.hef is damaged")
    done = host.run("--yes")
    assert done.refused
    assert "error: models/scrfd_2.5g.hef is damaged" in done.err
    assert done.reason == "the worker ended by itself; its last lines stand above."
    assert "docker logs immich-ml-hailo" in done.remedy
    assert "ml_target.doctor --open" in done.remedy
    assert host.ours["status"] == "exited", "it does not start over and over"
    host.run("--yes", "--cpu")
    assert "ml_target.inspect_models" in host.run("--yes", "--cpu", SETUP_READY_S="0").remedy


def test_a_worker_that_never_gets_ready(host: SetupHost) -> None:
    done = host.run("--yes", SETUP_READY_S="1")
    assert done.refused
    assert done.reason.startswith("the worker runs, but does not answer on port 65000 within 1 s")
    assert "SETUP_READY_S=900 ./setup.sh" in done.remedy
    assert host.ours["status"] == "running"


def test_waiting_is_shown(host: SetupHost, worker: Worker) -> None:
    worker.not_ready = 2
    done = host.run("--yes", IMMICH_PORT=str(worker.port), SETUP_SAY_S="0")
    assert done.code == 0
    assert len(re.findall(r"not ready yet, \d+ s\n", done.out)) == 2


def test_a_connection_that_is_dropped_at_once_does_no_harm(host: SetupHost) -> None:
    """Docker's proxy does that until the worker listens: the next write is SIGPIPE."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stopped = Event()

        def drop() -> None:
            server.settimeout(0.1)
            while not stopped.is_set():
                with suppress(TimeoutError):
                    connection, _ = server.accept()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.close()

        thread = Thread(target=drop)
        thread.start()
        try:
            port = server.getsockname()[1]
            asking = f"source scripts/setup_proof.sh; port={port}; for ((n = 0; n < 60; n++)); do answers || true; done"
            done = subprocess.run(
                ["bash", "-c", f"set -eu; {asking}; echo alive"],
                cwd=host.checkout,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            stopped.set()
            thread.join()
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")


def test_a_worker_that_answers_wrong(host: SetupHost, worker: Worker) -> None:
    host.fault("exec", "FAIL clip.visual is of unit length")
    done = host.run("--yes", IMMICH_PORT=str(worker.port))
    assert done.refused
    assert done.reason == "the worker runs, but tests/test.sh found something wrong."
    assert "do not let Immich use it" in done.remedy
    assert "FAIL clip.visual" in done.err
    assert "URL" not in done.out


@pytest.mark.parametrize("call", ["stop", "rename", "start"])
def test_docker_that_does_not_obey(host: SetupHost, served: dict[str, str], call: str) -> None:
    host.container(**{**host.ours, "status": "exited" if call == "start" else "paused"})
    host.fault(call, "device or resource busy")
    done = host.run("--yes", **served)
    assert done.refused
    assert "device or resource busy" in done.err
    assert "run this again" in done.remedy


# ------------------------------------------------------------- what it may do


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


# ------------------------------------------------------------------ settings


def test_settings_are_looked_over_before_anything_is_fetched(host: SetupHost) -> None:
    """Without a Python on the host in the image, as soon as there is one; the names of all variables go along."""
    host.fault("run --rm --read-only", "HAILO_BATCH=64: it takes a whole number from 1 to 63.")
    done = host.run("--yes", HAILO_BATCH="64", CLIP_BACKENDS="siglip")
    assert done.refused
    assert done.reason == "a setting is not right; the line above says which, and what it takes."
    assert "    HAILO_BATCH=64: it takes a whole number from 1 to 63.\n" in done.out
    assert host.changes() == ["build hailo-base:v4.23.0", "build immich-ml-hailo:v4.23.0-slim"]
    asked = host.calls()[-1]
    assert asked[asked.index("HAILO_BATCH=64") - 1] == "-e"
    assert "CLIP_BACKENDS" in asked[asked.index("ml_target.diagnostics.settings") :]


def test_a_python_of_the_host_looks_them_over_before_anything_is_built(host: SetupHost) -> None:
    host.python()
    done = host.run("--yes", "--no-start", HAILO_BATCH="64", CLIP_BACKENDS="siglip")
    assert done.refused
    assert "    NOTE: CLIP_BACKENDS has no effect: " in done.out
    assert "    HAILO_BATCH=64: it takes a whole number from 1 to 63. Correct it" in done.out
    assert host.changes() == []
    done = host.run("--yes", "--no-start", CLIP_BACKENDS="siglip")
    assert done.code == 0, done.err
    assert "CLIP_BACKEND was meant, perhaps." in done.out
    assert not any("ml_target.diagnostics.settings" in words for words in host.calls()), "once is enough"
