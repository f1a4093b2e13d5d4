"""Where HailoRT's library is unpacked: a folder that may be written, and from which libraries may be loaded.

Docker mounts its `--tmpfs` noexec, so a library in there cannot be mapped; `:exec` in the option takes that away.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ml_target.errors import SettingsError

MOUNTED = Path("/run/hailort")
"""Where the templates mount a small, executable tmpfs of its own."""

TMPFS = f"--tmpfs {MOUNTED}:exec,mode=1777,size=128m"
"""The option of `docker run`. Two users (the worker and root's `docker exec`) unpack about 40 MB each."""

ADVICE = f"Start the container with {TMPFS}"


def place(candidates: Sequence[Path] = ()) -> Path:
    """The first folder of `candidates` (default: the templates' mount, the system's temporary folder) that will do.

    Raises SettingsError, which says of each what is wrong with it.
    """
    wrong = []
    for folder in candidates or (MOUNTED, Path(tempfile.gettempdir())):
        fault = _fault(folder)
        if not fault:
            return folder
        wrong.append(f"{folder} {fault}")
    raise SettingsError(f"There is nowhere to unpack HailoRT's library: {'; '.join(wrong)}", ADVICE)


def _fault(folder: Path) -> str:
    try:
        if os.statvfs(folder).f_flag & os.ST_NOEXEC:
            return "is mounted noexec, so no library there can be loaded"
    except OSError:
        return "is not there"
    return "" if os.access(folder, os.W_OK | os.X_OK) else "cannot be written"
