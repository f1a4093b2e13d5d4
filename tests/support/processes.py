"""A plugin of pytest: with `--dist loadfile` pytest-xdist gives the tests of a file to one process.

Some files are given to one process together. Those that build images share podman's store, and port 3003 of this
machine; their share takes longest, and one thing after the other: the other processes stand back for it.
(`--dist loadgroup` does nothing under pytest 9.2: pytest-xdist 3.8 renames tests in a way that no longer counts.)
"""

import os
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

CONTAINERS = ("tests/images/test_images.py", "tests/setup/test_setup_end_to_end.py")
TOGETHER = {
    "containers": CONTAINERS,
    # They import PyTorch and all of transformers, which takes ten seconds.
    "torch": (
        "tests/parity/test_search_parity.py",
        "tests/parity/test_resize_parity.py",
        "tests/parity/test_checkpoint_libraries.py",
        "tests/sim/test_hailo_clip.py",
    ),
    # They import RapidOCR, which takes a second.
    "rapidocr": ("tests/unit/test_crop.py", "tests/unit/test_ctc.py", "tests/unit/test_dbnet.py"),
    # They look at the same pictures with the same networks, and remember the answers.
    "selfcheck": ("tests/commands/selfcheck/",),
}
"""Files, or folders, whose tests one process runs."""


class ByFile(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return next((name for name, files in TOGETHER.items() if file.startswith(files)), file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile | None:
    return ByFile(config, log) if config.getoption("dist") == "loadfile" else None


class StandsBack:
    """In a process of pytest-xdist: its priority goes down with its first test that builds no image."""

    stood_back = False

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        if not self.stood_back and not nodeid.startswith(CONTAINERS):
            os.nice(5)
            self.stood_back = True


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(StandsBack())
