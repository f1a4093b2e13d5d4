"""What the containers of setup.sh may do and take."""

import pytest
from setup_planned import PlannedHost
from setup_runs import CONFINED


def test_every_container_is_confined(host: PlannedHost, served: dict[str, str]) -> None:
    """Also those that ask the card and fetch, which go as they end."""
    host.run("--yes", FACE_DETECTOR="scrfd_10g", **served)
    runs = [words for words in host.calls() if words[0] == "run"]
    assert len(runs) >= 3
    for words in runs:
        at = words.index("--read-only")
        assert words[at : at + len(CONFINED)] == CONFINED
        assert "--privileged" not in words
        assert "--cap-add" not in words


def test_the_memory_that_it_may_take_is_chosen_and_kept(host: PlannedHost) -> None:
    port = {"IMMICH_PORT": "65000"}
    host.run("--yes", CONTAINER_MEMORY="8g", **port)
    assert "8g" in host.call("run", "-d")
    assert host.run("--yes", **port).code == 0
    assert host.changes() == [], "kept"
    host.run("--yes", CONTAINER_MEMORY="", **port)
    assert "4g" in host.call("run", "-d")
    host.run("--yes", MEMORY_MB="2560", **port)
    assert "5222m" in host.call("run", "-d"), "it grows with what pictures may take"


@pytest.mark.parametrize("value", ["6", "6x", "-1g", "much", "6g 7g", "0g"])
def test_a_memory_that_is_no_size(host: PlannedHost, value: str) -> None:
    done = host.run("--yes", CONTAINER_MEMORY=value)
    assert done.refused
    assert done.reason == f"CONTAINER_MEMORY={value} is not a size."
    assert "CONTAINER_MEMORY=6g" in done.remedy
    assert host.changes() == []


def test_what_docker_has_to_say_of_a_container_that_runs(host: PlannedHost) -> None:
    host.change(warns="WARNING: Your kernel does not support memory limit capabilities. Limitation discarded.")
    done = host.run("--yes")
    assert done.code == 0, done.err
    assert "(Docker says: WARNING: Your kernel does not support memory limit" in done.out
