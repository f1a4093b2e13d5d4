"""Imports HailoRT's Python package: from packages in a folder where there are some, else the installed one.

The package's extension asks the loader for `libhailort.so.VERSION`, by that name alone. A library that the process
has loaded already answers to it, wherever its file lies, so nothing is installed and no search path is set.
"""

import ctypes
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_target.hailort.accepted import require_unchanged
from ml_target.hailort.packages import Platform, foreign, misnamed, pair_for
from ml_target.hailort.packages import packages as packages_in
from ml_target.hailort.place import place
from ml_target.hailort.unpack import PYTHON, library_name, unpacked
from ml_target.system.cards import driver_version

log = logging.getLogger(__name__)

PACKAGE = "hailo_platform"


def import_hailort(folder: Path, root: Path = Path("/"), bases: Sequence[Path] = ()) -> Any:
    """The module `hailo_platform`.

    `folder`: where HailoRT's packages may lie, in one version or several. `root`: where the driver's version is
    read. `bases`: where to unpack. Raises SettingsError for packages that do not fit or cannot be unpacked, and what
    the import raises, which `engines/hailo/package.py` explains.
    """
    if PACKAGE not in sys.modules and packages_in(folder):
        _provide(folder, root, bases)
    try:
        return importlib.import_module(PACKAGE)
    except ModuleNotFoundError as error:
        if error.name == PACKAGE and foreign(folder):  # somebody has put something there
            raise misnamed(folder, driver_version(root)) from error
        raise


def _provide(folder: Path, root: Path, bases: Sequence[Path]) -> None:
    here = Platform()
    driver = driver_version(root)
    pair = pair_for(driver, folder, here)
    require_unchanged(pair)
    done = unpacked(pair, here, place(bases))
    ctypes.CDLL(str(done / library_name(pair.version)), mode=ctypes.RTLD_GLOBAL)
    sys.path.insert(0, str(done / PYTHON))
    fits = f"as the driver {driver}" if driver else "the driver does not tell its version"
    log.info("HailoRT %s (%s), from %s and %s in %s", pair.version, fits, pair.deb.name, pair.wheel.name, folder)
