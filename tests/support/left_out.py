"""A plugin of pytest: says how many slow tests were left out, also where several processes share the tests."""

from typing import Any

import pytest

LEFT_OUT = pytest.StashKey[int]()


def pytest_deselected(items: list[pytest.Item]) -> None:
    """Called for -k, then for -m: the last call with nothing but slow tests is that of `-m "not slow"`."""
    if items and all(item.get_closest_marker("slow") for item in items):
        items[0].config.stash[LEFT_OUT] = len(items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that runs tests for another one tells it; each of them has seen all tests."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["left out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT_OUT] = getattr(node, "workeroutput", {}).get("left out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("markexpr") and (number := config.stash.get(LEFT_OUT, 0)):
        terminalreporter.write_line(f"slow tests left out: {number}; ./setup.sh test --full runs them")
