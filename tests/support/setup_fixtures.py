"""A plugin of pytest: the hosts on which setup.sh is tried, and the worker that it waits for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from setup_host import SetupHost
from setup_runs import Worker, answering


@pytest.fixture
def host(tmp_path: Path) -> SetupHost:
    """A healthy host for setup.sh, with a stand-in docker."""
    return SetupHost(tmp_path)


@pytest.fixture
def worker() -> Iterator[Worker]:
    """What answers on the port of the container that setup.sh starts."""
    with answering() as worker:
        yield worker


@pytest.fixture
def served(host: SetupHost, worker: Worker) -> dict[str, str]:
    """The environment of a host on which setup.sh has been through once."""
    environment = {"IMMICH_PORT": str(worker.port)}
    done = host.run("--yes", **environment)
    assert done.code == 0, done.err
    return environment
