"""A plugin of pytest: the hosts on which set-up is tried, planned or with the real shell, and what answers there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from setup_host import SetupHost
    from setup_planned import PlannedHost
    from setup_runs import Worker


@pytest.fixture
def host(tmp_path: Path) -> PlannedHost:
    """A healthy host with a stand-in docker, on which the planner runs in this process."""
    from setup_planned import PlannedHost

    return PlannedHost(tmp_path / "planned")


@pytest.fixture
def served(host: PlannedHost) -> dict[str, str]:
    """The environment of a host on which set-up has been through once."""
    environment = {"IMMICH_PORT": "65000"}
    done = host.run("--yes", **environment)
    assert done.code == 0, done.err
    return environment


@pytest.fixture
def shell_host(tmp_path: Path) -> SetupHost:
    """A healthy host with a stand-in docker, for the real setup.sh."""
    from setup_host import SetupHost

    return SetupHost(tmp_path / "shell")


@pytest.fixture
def worker() -> Iterator[Worker]:
    """What answers on the port of the container that setup.sh starts."""
    from setup_runs import answering

    with answering() as worker:
        yield worker
