"""Fixtures for tests of setup.sh, beside the host."""

import pytest
from setup_host import SetupHost
from setup_runs import Worker


@pytest.fixture
def served(host: SetupHost, worker: Worker) -> dict[str, str]:
    """The environment of a host on which setup.sh has been through once."""
    environment = {"IMMICH_PORT": str(worker.port)}
    done = host.run("--yes", **environment)
    assert done.code == 0, done.err
    return environment
