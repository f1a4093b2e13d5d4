"""Both images, really built and run: on a stand-in for Ubuntu, with the simulator in HailoRT's place.

The lines are the README's own. What only a real host shows: the vendor's packages, a card, arm64.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hailo_sim.sysfs import make_root
from project import SHARED, TESTS
from standin_docker import Docker, make_node
from standin_hailort import VERSION, wheel_name, write_packages

from ml_target.setup.images import INPUTS, copied, digest
from ml_target.setup.packages import names

BASE = "docker build -t hailo-base:v4.23.0 -f Dockerfile.hailo-base ."
WORKER = "docker build -t immich-ml-hailo:v4.23.0 -f Dockerfile.immich-ml-hailo ."
SLIM = "docker build -t immich-ml-hailo:slim --build-arg MODELS=none -f Dockerfile.immich-ml-hailo ."
MODELS = "docker build -t models --target models -f Dockerfile.immich-ml-hailo ."
"""Up to where models go in."""
CPU = "docker build -t immich-ml-hailo:cpu --build-arg BASE_IMAGE=ubuntu:24.04 -f Dockerfile.immich-ml-hailo ."
RUN = (
    "docker run -d --device=/dev/hailo0:/dev/hailo0 --group-add=0 --publish 3003:3003 -e CLIP_BACKEND=siglip "
    "--name immich-ml-hailo --restart unless-stopped immich-ml-hailo:v4.23.0"
)
HAILO, NO_MODELS, PROCESSOR = "immich-ml-hailo:v4.23.0", "immich-ml-hailo:slim", "immich-ml-hailo:cpu"
CARD = ("--device=/dev/hailo0", "--group-add=0")
HARDENED = ("--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges")


@dataclass(frozen=True)
class Images:
    """The images, the folder they were built in, and what the builds said."""

    docker: Docker
    folder: Path
    said: dict[str, str]


@pytest.fixture(scope="module")
def images(docker: Docker, clone: Path, card_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Images:
    folder = shutil.copytree(clone, tmp_path_factory.mktemp("images") / "a clone")
    shutil.copytree(card_models, folder / "models", dirs_exist_ok=True)
    (folder / "models" / "scrfd_10g.hef.part").write_bytes(bytes(100))
    (folder / ".env").write_text("SECRET=1\n")
    # What the builds say is looked at below. They come first (tests/conftest.py), so none is from the cache of another.
    said = {}
    for line in (BASE, _as_set_up_builds(folder), WORKER, SLIM, CPU):
        done = docker.shell(line, cwd=folder)
        assert done.returncode == 0, done.stdout
        said[line] = done.stdout
    return Images(docker, folder, said)


def _as_set_up_builds(folder: Path) -> str:
    """The same base under set-up's label: what lies on it then is in the cache for test_setup_end_to_end.py, too."""
    files = [Path("hailo-rt-4") / name for name in names(VERSION, "x86_64")]
    inputs = digest(folder, [*copied(folder, "Dockerfile.hailo-base"), *files], [f"HAILORT_VERSION={VERSION}"])
    return BASE.replace(" -f", f" --label {INPUTS}={inputs} --build-arg HAILORT_VERSION={VERSION} -f")


@pytest.fixture(scope="module")
def served(images: Images) -> Iterator[str]:
    """The container of the README's line, ready."""
    docker = images.docker
    done = docker.shell(RUN)
    assert done.returncode == 0, done.stdout
    try:
        wait_healthy(docker, "immich-ml-hailo")
        yield "immich-ml-hailo"
    finally:
        docker("rm", "-f", "immich-ml-hailo")


def wait_healthy(docker: Docker, name: str) -> None:
    """Until the worker says that it is ready; then the image's own health check passes."""
    docker.wait_logged(name, "ready after")
    health = docker("healthcheck", "run", name)
    assert health.returncode == 0, health.stdout


def wait_ended(docker: Docker, name: str) -> tuple[int, str]:
    """Exit code and log of a container that ends by itself."""
    ended = docker.shell('timeout 60 docker wait "$1"', name)
    log = docker("logs", name).stdout
    assert ended.returncode == 0, log
    return int(ended.stdout), log


def stop(docker: Docker, name: str) -> int:
    """The exit code after SIGTERM; 137 when it had to be killed after ten seconds."""
    docker.told("stop", "--time", "10", name)
    return int(docker.told("inspect", "--format", "{{.State.ExitCode}}", name))


ASK = """
import sys, urllib.request
path, *form = sys.argv[1:]
data = form[0].encode() if form else None
print(urllib.request.urlopen("http://127.0.0.1:3003" + path, data).read().decode())
"""


def status(docker: Docker, name: str) -> dict[str, Any]:
    """The answer of /status."""
    answer: dict[str, Any] = json.loads(docker.told("exec", name, "python3", "-c", ASK, "/status"))
    return answer


def search(docker: Docker, name: str, text: str) -> list[float]:
    """The vector of a query, through Immich's form."""
    form = urlencode({"entries": json.dumps({"clip": {"textual": {"modelName": "ViT-B-32__openai"}}}), "text": text})
    answer = json.loads(docker.told("exec", name, "python3", "-c", ASK, "/predict", form))
    vector: list[float] = json.loads(answer["clip"])
    return vector


def end_to_end(docker: Docker, name: str, folder: str = "/app/tests") -> str:
    """What test.sh prints, of the image's own or of another folder in it."""
    done = docker("exec", name, "bash", f"{folder}/test.sh", f"{folder}/test.jpg")
    assert done.returncode == 0, done.stdout
    return done.stdout


# ---------------------------------------------------------------------- images


def test_the_image_says_how_it_is_run(images: Images) -> None:
    for name in (HAILO, PROCESSOR):
        (image,) = json.loads(images.docker.told("image", "inspect", name))
        config = image["Config"]
        assert config["User"] == "1000:1000"
        assert list(config["ExposedPorts"]) == ["3003/tcp"]
        assert config["Cmd"] == ["python3", "-m", "ml_target"]
        health = config.get("Healthcheck") or image["Healthcheck"]  # podman has it beside
        assert health["Test"] == ["CMD", "python3", "-m", "ml_target.healthcheck"]
        assert {"HAILORT_LOGGER_PATH=NONE", "PYTHONUNBUFFERED=1"} <= set(config["Env"])


def looked(docker: Docker, image: str, *commands: str) -> list[list[str]]:
    """The lines that each command prints in a container, as root; one for all: its start takes longest."""
    script = " echo ====; ".join(f"{command};" for command in commands)
    told = docker("run", "--rm", "--user=0", image, "bash", "-c", script).stdout
    parts = [part.split("\n") for part in told.split("====\n")]
    assert len(parts) == len(commands), told
    return [[line for line in part if line] for part in parts]


def test_nothing_but_the_worker_is_in_it(images: Images) -> None:
    for image in (HAILO, PROCESSOR):
        top, tests, scripts, traces, closed, others, compiled, left, tools = looked(
            images.docker,
            image,
            "ls -A /app",
            "ls -A /app/tests",
            "ls -A /app/scripts",
            "find /app /opt -name '*.part' -o -name .env -o -name .git",
            "find /app /opt ! -perm -444 -o -perm /022 ! -type l",
            "find /app/ml_target -name '*.py' ! -user 0",
            "find /app/ml_target -maxdepth 1 -name __pycache__ -printf '%f\\n'",
            "find /build /root /tmp /var/lib/apt/lists /var/cache/apt -mindepth 1 -size +50k 2>/dev/null",
            "for tool in gcc make git; do command -v $tool; done",
        )
        assert set(top) == {"LICENSE", "ml_target", "models", "scripts", "tests"}
        assert set(tests) == {"test.sh", "test.jpg"}
        assert scripts == ["check_image.py"]
        assert (traces, closed, others, left, tools) == ([], [], [], [], [])
        assert compiled == ["__pycache__"]


def test_of_hailort_only_what_runs_stays(images: Images) -> None:
    find = "find / -xdev -name '*hailo*' -not -path '/opt/*' -not -path '/app/*' 2>/dev/null"
    script = f"ldconfig -p | grep hailort; hailortcli; {find}; true"
    told = images.docker.told("run", "--rm", HAILO, "bash", "-c", script).splitlines()
    assert "libhailort.so.4.23.0 (libc6,x86-64) => /lib/libhailort.so.4.23.0" in [line.strip() for line in told]
    assert "HailoRT-CLI version 4.23.0" in told
    files = {Path(line).name for line in told if line.startswith("/")} - {"hailo0", "hailo"}
    assert files == {"libhailort.so.4.23.0", "hailortcli"}


def test_models_are_baked_in_unless_told(images: Images) -> None:
    def models(image: str) -> set[str]:
        return set(images.docker.told("run", "--rm", image, "ls", "/app/models").split())

    assert "networks go into the image: " in images.said[WORKER]
    baked = {"paddle_ocr_v5_mobile_detection.hef", "siglip_b_16_image_encoder.hef", "ppocrv5_dict.txt"}
    assert {*baked, "checksums.json"} <= models(HAILO), "with the record of what no checksum is published for"
    assert models(NO_MODELS) == {"README.md"}
    owner = images.docker.told("run", "--rm", NO_MODELS, "stat", "-c", "%u", "/app/models")
    assert owner == "1000", "so that a named volume, which takes it over, can be filled"
    assert "MODELS=none: the image holds no models" in images.said[SLIM]


def test_an_empty_models_folder_is_built_and_told(images: Images, tmp_path: Path) -> None:
    folder = shutil.copytree(images.folder, tmp_path / "clone", ignore=lambda at, _: files_of_models(at))
    done = images.docker.shell(MODELS, cwd=folder)
    assert done.returncode == 0, done.stdout
    assert "NOTE: models/ holds no networks. The image is built all the same, and every task in it" in done.stdout


def files_of_models(at: str) -> list[str]:
    folder = Path(at)
    return [file.name for file in folder.iterdir() if file.suffix != ".md"] if folder.name == "models" else []


# -------------------------------------------------------------- what stops a build


def test_what_hailo_base_needs(images: Images, tmp_path: Path) -> None:
    """What else may be missing, and what the script then says, is tried without a build (test_image_parts.py)."""
    folder = shutil.copytree(images.folder, tmp_path / "clone", ignore=lambda at, _: files_of_models(at))
    wheel = wheel_name(python=images.docker.base.python)
    (folder / "hailo-rt-4" / wheel).unlink()
    done = images.docker.shell(BASE, cwd=folder)
    assert done.returncode != 0
    assert f"missing: hailo-rt-4/{wheel}\n" in done.stdout
    assert "hailo.ai" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--build-arg HAILORT_VERSION=4.22.0", "missing: hailo-rt-4/hailort_4.22.0_amd64.deb and "),
        (
            "--build-arg DEB_ARCH=amd64 --build-arg WHL_ARCH=aarch64",
            "DEB_ARCH=amd64 and WHL_ARCH=aarch64 do not go together",
        ),
    ],
)
def test_what_is_named_reaches_the_build(images: Images, arguments: str, words: str) -> None:
    done = images.docker.shell(BASE.replace(" .", f" {arguments} ."), cwd=images.folder)
    assert done.returncode != 0
    assert words in done.stdout


def test_a_library_that_does_not_fit_would_stop_the_build(images: Images) -> None:
    """Files that are called as they should may still not fit each other: the build imports them all."""
    script = "mv /usr/lib/libhailort.so.4.23.0 /usr/lib/libhailort.so.4.22.0; python3 scripts/check_image.py"
    done = images.docker("run", "--rm", "--user=0", HAILO, "bash", "-c", script)
    assert done.returncode == 1
    assert "the library libhailort.so.4.23.0 is not installed.\n    Install the hailort package (.deb)" in done.stdout
    assert "all packages load, HailoRT 4.23.0 too" in images.said[WORKER]


# ------------------------------------------------------------------- on the card


def test_the_readme_s_line_serves_from_the_card(images: Images, served: str) -> None:
    told = status(images.docker, served)
    assert (told["engine"], told["ready"]) == ("hailo", True)
    assert images.docker.told("exec", served, "id", "-u") == "1000"


def test_the_end_to_end_test_passes_inside(images: Images, served: str) -> None:
    """test.sh and its picture copied in, and run as the README has it."""
    for file in ("test.sh", "test.jpg"):
        images.docker.told("cp", TESTS / file, f"{served}:/tmp/{file}")
    printed = end_to_end(images.docker, served, "/tmp")
    assert printed.rstrip().endswith(" passed, 0 failed")
    on = {task for task, told in status(images.docker, served)["tasks"].items() if told["on"]}
    assert {"clip.visual", "clip.textual", "ocr"} <= on
    assert ("facial-recognition" in on) == SHARED.is_dir()


def test_the_other_backend_is_a_restart_away(images: Images) -> None:
    """What was promised: both are in the image, CLIP_BACKEND chooses. Hardened, and for a user of Unraid."""
    docker = images.docker
    with docker.running(*CARD, *HARDENED, "--user=99:100", "-e", "CLIP_BACKEND=tinyclip", HAILO) as name:
        wait_healthy(docker, name)
        told = status(docker, name)
        assert [space["space"] for space in told["clip"]] == ["tinyclip"]
        assert told["tasks"]["clip.textual"]["on"]
        assert len(search(docker, name, "a photo of a cat")) == 512
        assert "Traceback" not in docker("logs", name).stdout
        assert stop(docker, name) == 0


def test_the_documented_commands(images: Images, served: str) -> None:
    docker = images.docker

    def run(*command: str) -> str:
        return docker.told("exec", served, "python3", "-m", *command)

    inspected = run("ml_target.hef_inspect", "/app/models/paddle_ocr_v5_mobile_detection.hef")
    assert "chip       Hailo-8 " in inspected
    assert "the compiler's estimate" in inspected, "what HailoRT says of the file"
    assert "ppocrv5_dict.txt" in run("ml_target.inspect_models")
    looked = docker("exec", served, "python3", "-m", "ml_target.doctor").stdout
    # Faces only where their networks are beside this checkout.
    assert not [line for line in looked.splitlines() if line.startswith("WRONG") and "facial-recog" not in line], looked
    assert run("ml_target.healthcheck") == "pong"


def test_a_card_that_may_not_be_opened(images: Images) -> None:
    """Without the group, on a host whose node is root's and its group's alone."""
    with images.docker.running("--device=/dev/hailo0", HAILO) as name:
        code, log = wait_ended(images.docker, name)
    assert code == 1
    assert "/dev/hailo0 may not be read and written by user 1000" in log
    assert "--group-add 0" in log


def test_a_node_for_everybody_needs_no_group(images: Images, tmp_path: Path) -> None:
    node = str(make_node(tmp_path / "hailo0", 0o666))
    line = f"docker run -d --device=/dev/hailo0 --name for-all {HAILO}"
    assert images.docker.shell(line, CARD_NODE=node).returncode == 0
    try:
        wait_healthy(images.docker, "for-all")
    finally:
        images.docker("rm", "-f", "for-all")


def test_a_driver_of_another_version(images: Images, tmp_path: Path) -> None:
    line = f"docker run -d {' '.join(CARD)} --name older {HAILO}"
    assert images.docker.shell(line, CARD_SYS=host_sys(tmp_path / "host", "4.22.0")).returncode == 0
    try:
        code, log = wait_ended(images.docker, "older")
    finally:
        images.docker("rm", "-f", "older")
    assert code == 1
    assert "The driver on the host is version 4.22.0, HailoRT here is 4.23.0; they must be the same." in log


# ------------------------------------------------- one image, HailoRT from a folder


DRIVERS = ("4.20.0", "4.21.0", "4.22.0", "4.23.0", "4.24.0")
EXECUTABLE = "--tmpfs /run/hailort:exec,mode=1777,size=128m"


@pytest.fixture(scope="module")
def packages(images: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with HailoRT for every driver, as the vendor names the files."""
    folder = tmp_path_factory.mktemp("hailort")
    for version in DRIVERS:
        write_packages(folder, version, python=images.docker.base.python)
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def host_sys(folder: Path, driver: str) -> str:
    """What a container on a host with this driver sees below /sys."""
    sys = make_root(folder, driver=driver) / "sys"
    (sys / "fs" / "cgroup").mkdir(parents=True)
    return str(sys)


@pytest.mark.parametrize("driver", DRIVERS)
def test_one_image_fits_every_driver(driver: str, images: Images, packages: Path, tmp_path: Path) -> None:
    """The image without HailoRT, its two packages mounted: the driver's version is taken, and everything answers."""
    docker = images.docker
    line = (
        f"docker run -d {' '.join(CARD)} {' '.join(HARDENED)} {EXECUTABLE} -v {packages}:/hailort:ro "
        f"--name any-driver {PROCESSOR}"
    )
    started = docker.shell(line, CARD_SYS=host_sys(tmp_path / "host", driver))
    assert started.returncode == 0, started.stdout
    try:
        wait_healthy(docker, "any-driver")
        assert status(docker, "any-driver")["engine"] == "hailo"
        end_to_end(docker, "any-driver")
        log = docker("logs", "any-driver").stdout
        assert f"HailoRT {driver} (as the driver {driver}), from hailort_{driver}_amd64.deb and" in log
    finally:
        docker("rm", "-f", "any-driver")


def test_where_nothing_may_be_executed(images: Images, packages: Path) -> None:
    """Docker's own --tmpfs is noexec, so a library there cannot be loaded."""
    docker = images.docker
    read_only = (*HARDENED, "--tmpfs", "/tmp:noexec", "--volume", f"{packages}:/hailort:ro")
    with docker.running(*CARD, *read_only, PROCESSOR) as name:
        code, log = wait_ended(docker, name)
    assert code == 1
    assert "/run/hailort is not there; /tmp is mounted noexec, so no library there can be loaded" in log
    assert EXECUTABLE in log


def test_no_packages_at_all(images: Images) -> None:
    with images.docker.running(*CARD, PROCESSOR) as name:
        code, log = wait_ended(images.docker, name)
    assert code == 1
    assert "-v FOLDER:/hailort:ro" in log
    assert "hailort_4.23.0_amd64.deb" in log


def test_models_are_fetched_at_the_first_start(images: Images, packages: Path, tmp_path: Path) -> None:
    """One line: the image, two packages, and an empty folder for the models, which come from a mirror here."""
    docker = images.docker
    (models := tmp_path / "models").mkdir()
    os.chown(models, 1000, 1000)
    mirror = shutil.copytree(images.folder / "models", tmp_path / "mirror")
    for path in (mirror, *mirror.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    line = (
        f"docker run -d {' '.join(CARD)} {EXECUTABLE} -v {packages}:/hailort:ro -v {models}:/app/models "
        f"-v {mirror}:/mirror:ro -e MODELS_FETCH=on -e MODELS_MIRROR=/mirror --name first {PROCESSOR}"
    )
    started = docker.shell(line)
    assert started.returncode == 0, started.stdout
    try:
        wait_healthy(docker, "first")
        log = docker("logs", "first").stdout
        assert "of the model files are missing and are fetched into /app/models" in log
        assert status(docker, "first")["tasks"]["ocr"]["on"], log
        assert next(models.glob("*.hef"))
    finally:
        docker("rm", "-f", "first")


def test_compose_upgrades_and_goes_back_by_the_tag_in_its_file(images: Images, packages: Path, tmp_path: Path) -> None:
    """The line of docs/templates.md, with podman-compose in the place of Docker's own, and two tags of one image."""
    docker, project, name = images.docker, Path(__file__).resolve().parents[2], "by-compose"
    compose = Path(sys.executable).with_name("podman-compose")
    if not compose.is_file():
        pytest.skip("podman-compose is not installed (it is with ./setup.sh test)")
    page = (project / "docs/templates.md").read_text(encoding="utf-8")
    up, down = (f"docker compose -f any-driver.compose.yaml {words}" for words in ("up -d", "down"))
    assert page.count(f"`{up}`") == 2, "at the start and at the upgrade"
    assert f"`{down}`" in page
    for folder, source in (("hailort", packages), ("models", images.folder / "models")):
        for path in (shutil.copytree(source, tmp_path / folder), *(tmp_path / folder).iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.chown(path, 1000, 1000)
    text = (project / "docs/examples/any-driver.compose.yaml").read_text(encoding="utf-8")
    text = text.replace("container_name: immich-ml-hailo\n", f"container_name: {name}\n").replace('"on"', '"off"')
    old, new = (f"localhost/immich-ml-hailo:{number}" for number in ("0.1.0", "0.2.0"))

    def runs(line: str) -> None:
        line = line.replace("docker compose", f"{compose} --podman-path $(command -v docker)")
        done = docker.shell(line, cwd=tmp_path)
        assert done.returncode == 0, done.stdout

    for tag in (old, new):
        docker.told("tag", PROCESSOR, tag)
    seen: list[list[str]] = []
    try:
        for tag in (old, new, old):
            (tmp_path / "any-driver.compose.yaml").write_text(text.replace("REGISTRY/OWNER/immich-ml-hailo:0.1.0", tag))
            runs(up)
            docker.wait_logged(name, "HailoRT 4.23.0 (as the driver 4.23.0)")
            seen.append(docker.told("inspect", "--format", "{{.ImageName}} {{.Id}}", name).split())
        assert [image for image, _ in seen] == [old, new, old]
        assert len({container for _, container in seen}) == 3, "each in the place of the one before"
        assert next((tmp_path / "models").glob("*.hef")), "the folders are as they were"
        runs(down)
        assert name not in docker.told("ps", "-a", "--format", "{{.Names}}").splitlines()
    finally:
        docker("rm", "-f", name)
        docker("rmi", old, new)


def test_a_models_folder_of_somebody_else(images: Images, tmp_path: Path) -> None:
    (models := tmp_path / "models").mkdir()
    options = ("-e", "ENGINE=cpu", "-e", "MODELS_FETCH=on", "--volume", f"{models}:/app/models")
    with images.docker.running(*options, PROCESSOR) as name:
        images.docker.wait_logged(name, "cannot be written by user 1000. Let it: chown -R 1000")


# --------------------------------------------------------------- slim, processor


def test_without_models_every_task_refuses_in_words(images: Images) -> None:
    docker = images.docker
    with docker.running(*HARDENED, "-e", "ENGINE=cpu", NO_MODELS) as name:
        docker.wait_logged(name, "idle after")
        health = docker("exec", name, "python3", "-m", "ml_target.healthcheck")
        assert (health.returncode, health.stdout) == (1, "idle: see /status\n")
        test = ("bash", "/app/tests/test.sh", "/app/tests/test.jpg")
        printed = docker("exec", name, *test).stdout
        assert printed.count(" off: refused with 503 and words\n") == 4
        assert (
            "is not there: run scripts/models.sh fetch --engine cpu on the host, in this project"
            in docker("logs", name).stdout
        )
        assert stop(docker, name) == 0


def test_a_mount_takes_the_place_of_what_is_baked_in(images: Images, tmp_path: Path) -> None:
    docker = images.docker
    models = shutil.copytree(images.folder / "models", tmp_path / "models")
    for path in (models, *models.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    mount = f"--volume={models}:/app/models"
    with docker.running(*CARD, mount, NO_MODELS) as name:
        wait_healthy(docker, name)
        assert status(docker, name)["tasks"]["ocr"]["on"]
    # Root's folder, not the worker's to write: neither refused nor changed.
    assert sorted(p.name for p in models.iterdir()) == sorted(p.name for p in (images.folder / "models").iterdir())


def test_the_processor_s_image_reads_text(images: Images) -> None:
    docker = images.docker
    with docker.running(*HARDENED, PROCESSOR) as name:
        wait_healthy(docker, name)
        told = status(docker, name)
        assert (told["engine"], told["tasks"]["ocr"]["on"]) == ("cpu", True)
        end_to_end(docker, name)
        assert "all packages load; no HailoRT: this image is for the processor" in images.said[CPU]
        assert stop(docker, name) == 0


def test_it_ends_when_told_while_it_loads(images: Images) -> None:
    docker = images.docker
    with docker.running("-e", "ENGINE=cpu", PROCESSOR) as name:
        docker.wait_logged(name, "listening on")
        assert stop(docker, name) == 0
