"""What takes long to make is made once a session, by one of pytest-xdist's processes for all of them."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def shared_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` of this session, filled by `make` unless that was done. To be read, not changed.

    Others wait while it is made; where `make` fails, the next one tries again.
    """
    base = factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, part = root / name, root / f"{name}.part"
    with FileLock(root / f"{name}.lock"):
        if not folder.is_dir():
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            make(part)
            part.rename(folder)
    return folder
