"""Programs of Debian's that tests need. Where CI is set, root gets them by apt; elsewhere a test without one skips."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from filelock import FileLock

WAIT_S = 600
"""Seconds for apt: Chromium is a hundred megabytes."""


def program(package: str, *names: str, folder: str = "/usr/sbin") -> str:
    """The path of the first of these programs; `folder` is looked into besides PATH. Skips where there is none."""
    path = f"{os.environ.get('PATH', '')}:{folder}"

    def found() -> str | None:
        return next(filter(None, (shutil.which(name, path=path) for name in names)), None)

    if not found() and os.environ.get("CI") and os.getuid() == 0 and shutil.which("apt-get"):
        # Tests run in several processes, and apt only in one at a time.
        with FileLock(Path(tempfile.gettempdir()) / "immich-ml-tests-apt.lock"):
            if not found():
                _install(package)
    return found() or pytest.skip(f"{names[0]} is not installed here (apt-get install {package})")


def _install(package: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in ("update -qq", f"install -y -qq --no-install-recommends {package}"):
        command = ["apt-get", "-o", f"DPkg::Lock::Timeout={WAIT_S // 2}", *words.split()]
        subprocess.run(command, env=environment, capture_output=True, timeout=WAIT_S, check=False)
