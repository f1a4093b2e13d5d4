"""Upgrade, go back, uninstall: the lines of docs/templates.md, one after the other, on a docker of the tests' own."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from docker_standin import CONTAINER, DockerStandIn
from readme import lines_of

from ml_target.config import PROJECT

PAGE = (PROJECT / "docs" / "templates.md").read_text(encoding="utf-8")
OLD, NEW = "REGISTRY/OWNER/immich-ml-hailo:0.1.0", "REGISTRY/OWNER/immich-ml-hailo:0.2.0"
BEFORE = f"{CONTAINER}-before"


class Host:
    """A folder in which somebody types the page's lines."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.docker = folder / "home", DockerStandIn()
        programs = folder / "bin"
        self.folder.mkdir()
        programs.mkdir()
        for name, text in (("docker", self.docker.command()), ("sudo", '#!/bin/sh\nexec "$@"'), ("chown", "#!/bin/sh")):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}

    def types(self, *lines: str) -> None:
        for line in lines:
            done = subprocess.run(
                ["bash", "-c", line], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}: {done.stderr}"

    def start(self, tag: str) -> None:
        """The page's two lines of the start, with this image."""
        self.types(*(line.replace("immich-ml-hailo:any", tag) for line in START))

    def serves(self, tag: str, *others: str) -> bool:
        """Whether a container of this image runs, and beside it there are these, which do not."""
        containers = self.docker.state["containers"]
        stopped = {name for name, each in containers.items() if each["status"] == "exited"}
        image = self.docker.state["images"][tag]["id"]
        running = containers[CONTAINER]["status"] == "running" and containers[CONTAINER]["image"] == image
        return running and stopped == set(others) and len(containers) == 1 + len(others)


def section(title: str) -> list[str]:
    """The lines to type of one section."""
    (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return lines_of(text)


START = section("Two folders and one line")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """It runs the old release, and has written something into both folders."""
    made = Host(tmp_path)
    made.types(f"docker pull {OLD}")
    made.start(OLD)
    for name in ("hailort/a.deb", "models/a.hef"):
        (made.folder / name).write_text("whatever")
    return made


def upgrade(host: Host) -> str:
    """Up to where both containers are there; the line that removes the old one."""
    *lines, last = section("Upgrade")
    host.types(*(line.replace("REGISTRY/OWNER/immich-ml-hailo:TAG", NEW) for line in lines))
    host.start(NEW)
    assert host.serves(NEW, BEFORE)
    return last


def test_the_sections_are_there_and_say_what_to_type() -> None:
    assert [len(section(title)) for title in ("Upgrade", "Go back", "Uninstall")] == [4, 3, 3]


def test_an_upgrade_leaves_the_folders_and_one_container(host: Host) -> None:
    host.types(upgrade(host))
    assert host.serves(NEW)
    assert (host.folder / "models/a.hef").is_file()
    assert (host.folder / "hailort/a.deb").is_file()


def test_after_an_upgrade_the_old_one_serves_again(host: Host) -> None:
    old = dict(host.docker.state["containers"][CONTAINER])
    upgrade(host)
    host.types(*section("Go back"))
    assert host.serves(OLD)
    assert host.docker.state["containers"] == {CONTAINER: old}, "with its own settings"


def test_where_the_old_one_is_gone_its_line_brings_it_back(host: Host) -> None:
    host.types(upgrade(host))
    host.types(section("Go back")[0])
    host.start(OLD)
    assert host.serves(OLD)


def test_nothing_is_left_of_what_was_uninstalled(host: Host) -> None:
    host.types(*(line.replace("immich-ml-hailo:any", OLD) for line in section("Uninstall")))
    assert host.docker.state["containers"] == host.docker.state["images"] == {}
    assert list(host.folder.iterdir()) == []
