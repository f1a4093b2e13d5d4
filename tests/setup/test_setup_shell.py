"""What only the shell can show of setup.sh: no Docker, a terminal, signals, and that it does as planned."""

import os
import pty
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from threading import Event, Thread
from typing import get_args

import pytest
from project import PROJECT
from setup_host import SetupHost
from setup_planned import PlannedHost
from setup_runs import ALL, REPLACED, Worker

from ml_target.catalogue.networks import CLIP_BACKENDS
from ml_target.catalogue.types import Chip
from ml_target.setup.options import FLAGS, VALUES

CHANGE = {"CLIP_BACKEND": "siglip", "FACE_RECOGNIZER": "arcface_mobilefacenet"}
AS_CHOSEN = {f"{name}={value}" for name, value in CHANGE.items()}


@pytest.fixture
def changed(shell_host: SetupHost, host: PlannedHost, worker: Worker) -> dict[str, str]:
    """The environment of a host on which a container with settings of its own runs, as a planned run left it."""
    environment = {"IMMICH_PORT": str(worker.port)}
    done = host.run("--yes", **CHANGE, **environment)
    assert done.code == 0, done.err
    shell_host.change(**host.state)
    shutil.copy(host.note, shell_host.note)
    return environment


# ---------------------------------------------------------------------- a run


def test_the_shell_does_what_was_planned(shell_host: SetupHost, host: PlannedHost, worker: Worker) -> None:
    """Call by call, from a bare host to the last word; nothing is left of the scratch folder."""
    environment = {"IMMICH_PORT": str(worker.port)}
    shutil.rmtree(host.checkout / "ml_target")
    (host.checkout / "ml_target").symlink_to(PROJECT / "ml_target")
    planned, done = host.run("--yes", **environment), shell_host.run("--yes", **environment)
    assert (done.code, done.err) == (planned.code, planned.err) == (0, "")
    assert done.out == planned.out.replace(str(host.checkout), str(shell_host.checkout))
    outside = [["ps", "--format", "{{.ID}}"], ["--version"]]
    assert told(shell_host, outside) == told(host, [])
    assert shell_host.changes() == ALL
    assert not list(shell_host.temporary.iterdir())


def told(host: SetupHost, without: list[list[str]]) -> list[list[str]]:
    """The calls of docker, without what differs: the folder, and the time of the file that was fetched."""
    calls = [[word.replace(str(host.checkout), "CHECKOUT") for word in words] for words in host.calls()]
    for words in calls:
        if words[:3] == ["build", "-t", "immich-ml-hailo:v4.23.0"]:
            words[4] = "inputs"
    return [words for words in calls if words not in without]


def test_what_a_dry_run_shows_is_what_is_run(shell_host: SetupHost, worker: Worker) -> None:
    """And can be typed: each word comes out of a shell as it went to docker."""
    environment = {"IMMICH_PORT": str(worker.port)}
    before = shell_host.tree()
    told = shell_host.run("--dry-run", "--chip", "hailo8", **environment)
    assert told.code == 0, told.err
    assert shell_host.tree() == before
    typed = [line.strip()[2:] for line in told.out.splitlines() if line.startswith("    $ docker ")]
    shown = []
    for line in typed:
        command = f'docker() {{ printf "%s\\0" "$@"; }}; {line}'
        shown.append(subprocess.run(["bash", "-c", command], capture_output=True, check=True).stdout[:-1].decode())
    assert shell_host.run("--yes", "--chip", "hailo8", **environment).code == 0
    run = ["\0".join(words) for words in shell_host.calls()]
    for line in shown:
        if "immich-ml-hailo:v4.23.0\0--label" not in line:  # the last build is labelled by what was fetched before it
            assert line in run


def test_help(shell_host: SetupHost) -> None:
    done = shell_host.run("--help")
    assert done.code == 0
    for option in (*FLAGS, *VALUES, "serve", "test"):
        assert option in done.out or option == "-y"
    for name in (*CLIP_BACKENDS, *get_args(Chip)):
        assert re.search(rf"\b{name}\b", done.out), f"{name} is not in the help"
    assert shell_host.calls() == []


def test_a_planner_that_ends_by_itself_is_told(shell_host: SetupHost) -> None:
    python = (shell_host.bin / "python3").read_text()
    shell_host.script(
        "python3", python.replace("exec", 'case "$*" in *ml_target*) echo broken >&2; exit 1;; esac\nexec')
    )
    done = shell_host.run("--yes")
    assert done.refused
    assert "broken" in done.err
    assert done.reason == "the planner ended by itself; the lines above say why."
    assert "run this again" in done.remedy.lower()


def test_a_file_that_cannot_be_read_is_told(shell_host: SetupHost) -> None:
    (shell_host.checkout / "Dockerfile.hailo-base").unlink()
    done = shell_host.run("--yes")
    assert done.reason.endswith("Dockerfile.hailo-base cannot be read: No such file or directory.")
    assert done.remedy


def test_what_the_settings_code_warns_of_is_said_once(shell_host: SetupHost) -> None:
    done = shell_host.run("--dry-run", LOG_LEVEL="loud")
    assert done.code == 0, done.err
    assert done.out.count("    the log level loud is unknown, using info; valid: ") == 1


# --------------------------------------------------------------------- docker


def test_no_docker(shell_host: SetupHost) -> None:
    (shell_host.bin / "docker").unlink()
    reason, remedy = shell_host.refusal()
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
def test_docker_that_does_not_serve(shell_host: SetupHost, words: str, reason: str, remedy: str) -> None:
    shell_host.fault("ps", words)
    found = shell_host.refusal()
    assert reason in found[0]
    assert remedy in found[1]


def test_docker_of_another_machine(shell_host: SetupHost) -> None:
    reason, remedy = shell_host.refusal(DOCKER_HOST="ssh://nas")
    assert reason.startswith("DOCKER_HOST=ssh://nas is another machine")
    assert "env -u DOCKER_HOST" in remedy


def test_options_that_make_no_sense_are_refused_before_docker_is_asked(shell_host: SetupHost) -> None:
    assert shell_host.refusal("--clip-backend=a b")[0] == "--clip-backend takes a name; not 'a b'."
    assert shell_host.calls() == []


# ----------------------------------------------------------------------- sudo


def test_sudo_is_told_with_what_the_run_was_given(shell_host: SetupHost) -> None:
    shell_host.fault("ps", "permission denied while trying to connect to the Docker daemon socket")
    remedy = shell_host.refusal(
        "--clip-backend", "siglip", FACE_DETECTOR="scrfd_10g", MODELS_MIRROR="/a b", IMMICH_PORT="3004"
    )[1]
    given = r"FACE_DETECTOR=scrfd_10g IMMICH_PORT=3004 MODELS_MIRROR=/a\ b"
    assert f"Run: sudo {given} ./setup.sh --yes --clip-backend siglip\n" in remedy


def test_what_sudo_would_drop_is_put_behind_it(shell_host: SetupHost) -> None:
    shell_host.container("other", ports="0.0.0.0:3003->3003/tcp")
    taken = {"IMMICH_PORT": "3003", "SUDO_USER": "me"}
    assert "one: sudo IMMICH_PORT=3004 ./setup.sh" in shell_host.refusal(**taken)[1]
    assert "(sudo env -u MODELS_DIR ./setup.sh)" in shell_host.refusal(MODELS_DIR="/data", SUDO_USER="me")[1]
    shell_host.no_card()
    assert "on the processor: sudo ./setup.sh --cpu" in shell_host.refusal(SUDO_USER="me")[1]
    shell_host.fault("ps", "permission denied")
    assert "Run: sudo IMMICH_PORT=65000 ./setup.sh --yes\n" in shell_host.refusal(SUDO_USER="me")[1]


def test_sudo_is_told_no_password(shell_host: SetupHost) -> None:
    shell_host.fault("ps", "permission denied while trying to connect to the Docker daemon socket")
    secrets = {"MODELS_MIRROR": "http://me:hun@ter2@files.lan/x", "HF_ENDPOINT": "https://hunter2@hub.lan"}
    remedy = shell_host.refusal(**secrets)[1]
    assert "ter2" not in remedy
    assert r"MODELS_MIRROR=http://\*\*\*@files.lan/x HF_ENDPOINT=https://\*\*\*@hub.lan ./setup.sh" in remedy


# ------------------------------------------------------------------- terminal


def test_answers_are_read_from_the_terminal(shell_host: SetupHost) -> None:
    done = shell_host.run_in_terminal("\n\nno\n", "--no-start")
    assert done.reason == "without them their tasks would be off."
    assert done.err.count("[Y/n]") == 2
    assert done.err.count("    [n] ") == 1
    assert "build immich-ml-hailo:v4.23.0-slim" in shell_host.changes()
    assert shell_host.run_in_terminal("\x04", "--no-start").reason == "stopped; the worker was not changed."
    shell_host.change(images={})
    assert shell_host.run_in_terminal("\x04", "--no-start").reason == "stopped; nothing was changed."


def test_nobody_to_ask(shell_host: SetupHost) -> None:
    before = shell_host.tree()
    done = shell_host.run()
    assert done.reason.startswith("this needs an answer, and there is nobody to ask: Build what is missing, and start ")
    assert "./setup.sh --yes" in done.remedy
    assert shell_host.tree() == before


def test_the_line_of_progress_gets_a_terminal(shell_host: SetupHost) -> None:
    master, slave = pty.openpty()

    def drain() -> None:
        with suppress(OSError):
            while os.read(master, 4096):
                pass

    reader = threading.Thread(target=drain)
    reader.start()
    environment = {"PATH": str(shell_host.bin), "SETUP_ROOT": str(shell_host.root), "TMPDIR": str(shell_host.temporary)}
    command = [str(shell_host.checkout / "setup.sh"), "--yes", "--no-start"]
    subprocess.run(command, env=environment, stdin=slave, stdout=slave, stderr=slave, timeout=60, check=True)
    os.close(slave)
    reader.join()
    os.close(master)
    assert next(words for words in shell_host.calls() if "fetch" in words)[:3] == ["run", "-it", "--rm"]
    assert not any("-it" in words for words in shell_host.calls() if "missing" in words)


# -------------------------------------------------------------------- signals


@pytest.mark.parametrize("call", ["stop", "rename immich-ml-hailo ", "run -d"])
def test_ctrl_c_leaves_the_old_one(shell_host: SetupHost, changed: dict[str, str], call: str) -> None:
    before = shell_host.state["containers"]
    shell_host.change(interrupted={call: 2})
    done = shell_host.run("--yes", HAILO_BATCH="4", **changed)
    assert done.code != 0
    assert "The container before runs again." in done.out
    assert shell_host.state["containers"] == before
    assert not list(shell_host.temporary.iterdir()), "nor is anything else left"


@pytest.mark.parametrize("call", ["stop", "rename", "run -d"])
def test_after_a_power_cut_the_next_run_goes_on(shell_host: SetupHost, changed: dict[str, str], call: str) -> None:
    shell_host.change(interrupted={call: 9})
    assert shell_host.run("--yes", HAILO_BATCH="4", **changed).code == -9
    shell_host.change(interrupted={})
    shell_host.note.unlink()
    done = shell_host.run("--yes", **changed)
    assert done.code == 0, done.err
    assert list(shell_host.state["containers"]) == ["immich-ml-hailo"]
    assert shell_host.ours["status"] == "running"
    kept = set(shell_host.ours["environment"])
    assert kept == (AS_CHOSEN | {"HAILO_BATCH=4"} if call == "run -d" else AS_CHOSEN)


@pytest.mark.parametrize("left", [None, {"immich-ml-hailo.setup": "1"}, {}])
def test_a_new_one_that_cannot_be_started_leaves_the_old_one(
    shell_host: SetupHost, changed: dict[str, str], left: dict[str, str] | None
) -> None:
    """Nothing is left behind, ours is, or somebody else's, which is not touched."""
    before = shell_host.state["containers"]
    shell_host.fault("run -d", "Bind for 0.0.0.0:65000 failed: port is already allocated", 125, leaves=left)
    done = shell_host.run("--yes", HAILO_BATCH="4", **changed)
    assert done.reason == f"port {changed['IMMICH_PORT']} is taken."
    if left == {}:
        assert "The container before is kept, stopped, as immich-ml-hailo-replaced." in done.out
        assert shell_host.ours["labels"] == {}
    else:
        assert "The container before runs again." in done.out
        assert shell_host.state["containers"] == before


def test_a_planner_that_ends_while_it_replaces_leaves_the_old_one(
    shell_host: SetupHost, changed: dict[str, str]
) -> None:
    """The way back was handed over before."""
    before = shell_host.state["containers"]
    breaks = (
        "import sys; from ml_target.setup import replacing; replacing._run = None; "
        "from ml_target.setup.__main__ import main; sys.exit(main())"
    )
    shell_host.script(
        "python3", f"#!/bin/sh\n[ $1 = -c ] && exec {sys.executable} \"$@\"\nexec {sys.executable} -S -c '{breaks}'"
    )
    done = shell_host.run("--yes", HAILO_BATCH="4", **changed)
    assert done.reason.startswith("the planner ended by itself")
    assert shell_host.changes()[-4:] == ["stop", "rename", "rename", "start"]
    assert "The container before runs again." in done.out
    assert shell_host.state["containers"] == before


def test_a_connection_that_is_dropped_at_once_does_no_harm(shell_host: SetupHost) -> None:
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
            asking = f"source scripts/setup_worker.sh; for ((n = 0; n < 60; n++)); do answers {port} || true; done"
            done = subprocess.run(
                ["bash", "-c", f"set -eu; {asking}; echo alive"],
                cwd=shell_host.checkout,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            stopped.set()
            thread.join()
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")


# ----------------------------------------------------------------------- note


def test_a_note_that_cannot_be_written_is_told(shell_host: SetupHost, worker: Worker) -> None:
    shell_host.script("mv", "#!/bin/sh\necho read-only >&2\nexit 1")
    done = shell_host.run("--yes", IMMICH_PORT=str(worker.port))
    assert done.code == 0, done.err
    assert f"the settings could not be kept in {shell_host.note}" in done.out


def test_the_note_can_be_replaced_by_another_user(shell_host: SetupHost, worker: Worker) -> None:
    """A run with sudo leaves a file of root's: others can read it, whatever root's umask was."""
    before = os.umask(0o077)
    try:
        assert shell_host.run("--yes", IMMICH_PORT=str(worker.port)).code == 0
    finally:
        os.umask(before)
    assert shell_host.note.stat().st_mode & 0o777 == 0o644


# ------------------------------------------------------------------ no Python


@pytest.fixture
def bare(shell_host: SetupHost) -> SetupHost:
    """A host such as Unraid: Docker, and no Python."""
    shell_host.no_python()
    return shell_host


def test_without_a_python_the_planner_runs_in_an_image(bare: SetupHost, worker: Worker) -> None:
    """The processor's, without models, which is built first; the next run changes nothing."""
    environment = {"IMMICH_PORT": str(worker.port)}
    worker.not_ready = 1000  # a port on which nothing answers is free
    bare.listens(1)
    assert "is taken by another program" in bare.run("--yes", **environment).reason
    assert bare.changes() == []
    bare.container(labels={"immich-ml-hailo.setup": "1", "immich-ml-hailo.settings": f"IMMICH_PORT={worker.port}"})
    worker.not_ready = 0
    done = bare.run("--yes", **environment)
    assert done.code == 0, done.err
    assert bare.changes() == ["build immich-ml-hailo:cpu-slim", *ALL[:-1], *REPLACED]
    assert "card is a hailo8" in done.out
    assert "URL         http://192.168.1.20:" in done.out
    assert bare.run("--yes", **environment).code == 0
    assert bare.changes() == []


def test_without_a_python_nothing_is_built_without_a_yes(bare: SetupHost) -> None:
    before = bare.tree()
    done = bare.run()
    assert done.reason == "this needs an answer, and there is nobody to ask: Build it?"
    assert bare.run_in_terminal("n\n").reason == "stopped; nothing was changed."
    shown = bare.run("--dry-run")
    assert shown.code == 0, shown.err
    assert "$ docker build -t immich-ml-hailo:cpu-slim --build-arg BASE_IMAGE=ubuntu:24.04 --build-arg MODELS=none" in (
        shown.out
    )
    assert "What comes after that is shown once the image is there." in shown.out
    bare.script("df", "#!/bin/sh\necho Filesystem\necho /dev/sda 9 9 1024000 9% /")
    assert "MB, and there are 1000 MB free on the disk that holds /docker" in bare.refusal()[0]
    assert bare.tree() != before, "but for df itself"
    assert bare.changes() == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--gpu"], "there is no option '--gpu'."),
        (["serve"], "there is no option 'serve'."),
        (["--cpu=1"], "there is no option '--cpu=1'."),
        ([""], "there is no option ''."),
        (["--clip-backend"], "--clip-backend takes a name; not ''."),
        (["--chip="], "--chip takes a name; not ''."),
        (["--chip", "hailo15"], "--chip does not know 'hailo15'."),
        (["--clip-backend=siglip,clip"], "--clip-backend does not know 'clip'."),
        (["--clip-backend", "sig*"], "--clip-backend does not know 'sig*'."),
    ],
)
def test_without_a_python_wrong_options_are_told_before_anything_is_built(
    bare: SetupHost, arguments: list[str], reason: str
) -> None:
    assert bare.refusal("--cpu", *arguments)[0] == reason
    assert bare.calls() == [], "and before Docker is asked"


def test_without_a_python_right_options_pass(bare: SetupHost) -> None:
    """Every one that there is, and every name of a backend or chip."""
    options = [option for option in FLAGS if option not in ("--cpu", "--yes", "-y")]
    options += ["--image=registry.example/a:1.0", "--clip-backend", ",".join([*CLIP_BACKENDS, "TinyCLIP"])]
    for chip in get_args(Chip):
        done = bare.run("-y", "--dry-run", *options, "--chip", chip, "--clip-backend=auto")
        assert done.code == 0, done.err
        assert "$ docker pull registry.example/a:1.0" in done.out


def test_without_a_python_the_processor_s_image_is_asked_for_and_built_once(bare: SetupHost) -> None:
    """The planner adds its label, from the builder's cache, and nothing is said or asked of that."""
    given = {"HTTPS_PROXY": "http://proxy.lan", "no_proxy": "lan"}
    done = bare.run_in_terminal("y\nn\nn\ny\n", "--cpu", "--no-start", "--missing-ok", **given)
    assert done.code == 0, done.err
    assert done.err.count("Build it?") == 1
    assert "building immich-ml-hailo:cpu-slim" not in done.out
    assert "    immich-ml-hailo:cpu-slim is there, built just now\n" in done.out
    assert done.err.index("    [n] ") < done.err.index("Build what is missing?"), "that is about the one with models"
    first, labelled = (words for words in bare.calls() if words[:3] == ["build", "-t", "immich-ml-hailo:cpu-slim"])
    assert labelled == [*first[:3], "--label", labelled[4], *first[3:]], "from the cache: with the same arguments"
    assert {"HTTPS_PROXY", "no_proxy"} < set(first)
    again = bare.run("--yes", "--cpu", "--no-start", "--missing-ok", **given)
    assert "immich-ml-hailo:cpu-slim is there, and nothing has changed" in again.out


def test_a_python_that_lacks_modules_is_passed_over(shell_host: SetupHost) -> None:
    """As Debian's python3-minimal does."""
    script = f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -S "$@" no_such_module another\nexit 9'
    shell_host.script("python3", script)
    done = shell_host.run("--dry-run", "--cpu")
    assert done.code == 0, done.err
    assert "\nThe python3 here is not whole (it has no no_such_module, another; python3-minimal is " in done.out
    assert "what to do is decided inside the image immich-ml-hailo:cpu-slim." in done.out
    shell_host.script("python3.12", f'#!/bin/sh\nexec {sys.executable} -S "$@"')
    assert "is not whole" not in shell_host.run("--dry-run", "--cpu").out, "another one is"


def test_without_a_python_a_refusal_is_the_planners(bare: SetupHost) -> None:
    """It sees the card through the few files that are copied for it: here one that a virtual machine has."""
    bare.change(images={"immich-ml-hailo:cpu-slim": {"id": "sha256:1", "labels": {}}})
    link = bare.root / "sys/bus/pci/devices/0000:01:00.0/driver"
    link.unlink()
    link.symlink_to("../../drivers/vfio-pci")
    assert "the card at 0000:01:00.0 belongs to the driver vfio-pci" in bare.refusal()[0]
    bare.no_card()
    assert bare.refusal()[0] == "this machine has no Hailo card."


def test_without_a_python_an_image_that_was_named_is_taken(bare: SetupHost) -> None:
    image = "registry.example/immich-ml-hailo:1.0"
    bare.change(registry=[image])
    done = bare.run("--yes", "--no-start", "--image", image)
    assert done.code == 0, done.err
    assert [words for words in bare.calls() if words[0] in ("pull", "build")] == [["pull", image]]
    planner = bare.call("run", "--rm", "-i")
    assert image in planner
    assert f"{bare.checkout}:{bare.checkout}:ro" in planner
    done = bare.run("--yes", "--no-start", "--image", "registry.example/nothing")
    assert done.reason == "the image registry.example/nothing could not be made; the lines above say why."


# ----------------------------------------------------------------------- files


def test_files_can_be_copied_into_the_container_as_the_readme_has_it(
    shell_host: SetupHost, changed: dict[str, str]
) -> None:
    """Below a read-only root Docker's cp takes volumes alone, and a tmpfs is none to it."""
    assert changed
    shutil.copy(PROJECT / "tests" / "test.jpg", shell_host.checkout / "tests")
    assert shell_host.ours["read_only"]
    for line in (
        "docker cp tests/test.sh immich-ml-hailo:/tmp/test.sh",
        "docker cp tests/test.jpg immich-ml-hailo:/tmp/test.jpg",
        "docker exec immich-ml-hailo bash /tmp/test.sh /tmp/test.jpg",
    ):
        done = subprocess.run(
            shlex.split(line), cwd=shell_host.checkout, env={"PATH": str(shell_host.bin)}, capture_output=True
        )
        assert done.returncode == 0, done.stderr
    elsewhere = [str(shell_host.bin / "docker"), "cp", "tests/test.sh", "immich-ml-hailo:/app/test.sh"]
    done = subprocess.run(elsewhere, cwd=shell_host.checkout, capture_output=True)
    assert b"container rootfs is marked read-only" in done.stderr


def test_the_shell_stays_small() -> None:
    """What decides belongs into ml_target/setup: of shell at most 700 lines, and no file over 200."""
    files = [PROJECT / "setup.sh", *(PROJECT / "scripts").glob("*.sh")]
    lines = {file.name: len(file.read_text().splitlines()) for file in files}
    assert max(lines.values()) <= 200, lines
    assert sum(lines.values()) <= 700, lines
