"""A `docker` command for tests: podman and runc under Docker's name, with a base image and a simulated card.

Where that cannot be had the tests skip, and say why; IMAGE_TESTS=require makes it an error,
IMAGE_TESTS=off skips in any case.
"""

import contextlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hailo_sim.sysfs import make_root
from standin_base import Base, NoBaseError, make_base

COMMAND = Path(__file__).resolve().parent / "podman_docker.sh"
TOOLS = ("podman", "runc", "mmdebstrap", "dpkg-deb")
PACKAGES = ("podman", "runc", "mmdebstrap")
UBUNTU = "docker.io/library/ubuntu:24.04"


class NoDockerError(Exception):
    """Images cannot be built here, and why."""


@dataclass
class Docker:
    """`docker(…)` runs the command. `base.python`: the Python that the images are built with."""

    home: Path
    base: Base
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Standard output and errors together, in `stdout`."""
        return self.shell('docker "$@"', *map(str, arguments))

    def shell(
        self, line: str, *arguments: str, cwd: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """A line for bash, as the README has them."""
        return subprocess.run(
            ["bash", "-c", line, "bash", *arguments],
            env={**os.environ, **self.environment, **more},
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=1800,
            check=False,
        )

    def told(self, *arguments: str | Path) -> str:
        """What a command prints that has to succeed."""
        done = self(*arguments)
        assert done.returncode == 0, done.stdout
        return done.stdout.strip()

    def wait_logged(self, name: str, words: str, seconds: float = 90) -> None:
        """Until a container has logged them. Its log is followed: podman, asked again and again, is the dearer."""
        process = subprocess.Popen(
            ["timeout", str(seconds), COMMAND, "logs", "--follow", name],
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        log = ""
        with process:
            for line in process.stdout:
                log += line
                if words in line:
                    process.terminate()
                    return
        raise AssertionError(f"{words} is not in the log of {name}:\n{log}")

    @contextmanager
    def running(self, *arguments: str) -> Iterator[str]:
        """A container by `docker run -d ARGUMENTS`; its name. Afterwards it is gone."""
        name = self.told("run", "-d", *arguments).splitlines()[-1]
        try:
            yield name
        finally:
            self("rm", "-f", name)


@contextmanager
def docker_command() -> Iterator[Docker]:
    """The command, its base image, and a card that it can hand to containers. Raises NoDockerError."""
    _require_tools()
    # Not below /tmp, which is in memory on some machines.
    home = Path(tempfile.mkdtemp(prefix="image-tests-", dir="/var/tmp"))
    try:
        try:
            base = make_base(home)
        except NoBaseError as error:
            raise NoDockerError(str(error)) from error
        docker = Docker(home, base, _environment(home, base))
        loaded = docker("import", "--quiet", base.rootfs, UBUNTU)
        if loaded.returncode:
            raise NoDockerError(f"podman cannot work here: {loaded.stdout.strip()[-500:]}")
        yield docker
    finally:
        _remove(home)


def _environment(home: Path, base: Base) -> dict[str, str]:
    commands, card, remembered = home / "bin", home / "card", home / "remembered"
    commands.mkdir()
    remembered.mkdir()
    remembered.chmod(0o777)  # for the users of all containers
    (commands / "docker").symlink_to(COMMAND)
    make_root(card)
    (card / "sys" / "fs" / "cgroup").mkdir(parents=True)  # where the container's own is mounted
    return {
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PODMAN_HOME": str(home),
        "PODMAN_BUILD_ARGS": "" if base.python == "3.12" else f"--build-arg PYTHON={base.python}",
        "CARD_NODE": str(make_node(home / "hailo0", 0o660)),
        "CARD_SYS": str(card / "sys"),
    }


def make_node(path: Path, mode: int) -> Path:
    """A character device of root's that may be opened by those whom `mode` lets; there is no card behind it."""
    os.mknod(path, 0o020000 | mode, os.makedev(1, 3))
    path.chmod(mode)
    return path


def _require_tools() -> None:
    if os.environ.get("IMAGE_TESTS") == "off":
        raise NoDockerError("IMAGE_TESTS=off")
    if platform.system() != "Linux" or os.geteuid() != 0:
        raise NoDockerError("podman is used as root on Linux here")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if not missing:
        return
    if os.environ.get("CI") != "true" or shutil.which("apt-get") is None:
        packages = " ".join(PACKAGES)
        raise NoDockerError(f"{', '.join(missing)} missing: apt-get install {packages} (done here where CI=true)")
    for command in (("update",), ("install", "-y", "--no-install-recommends", *PACKAGES)):
        done = _apt(command)
    if done.returncode:
        raise NoDockerError(f"apt-get install {' '.join(PACKAGES)} failed: {done.stdout.strip()[-500:]}")


def _apt(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", "-qq", *command],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _remove(home: Path) -> None:
    """Containers, mounts, files: each as far as it got."""
    environment = {**os.environ, "PODMAN_HOME": str(home)}
    with contextlib.suppress(OSError):
        subprocess.run([COMMAND, "rm", "-fa"], env=environment, capture_output=True, check=False)
    subprocess.run(["umount", "--lazy", home / "store" / "overlay"], capture_output=True, check=False)
    shutil.rmtree(home, ignore_errors=True)
