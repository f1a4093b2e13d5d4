"""Whether a folder may be written."""

import os
from pathlib import Path

WRITE_BITS = 0o222


def writable(folder: Path) -> bool:
    """True when files may be written there; for a folder that does not exist yet, when it may be created.

    A folder without any write bit counts as read-only for root too, although root could write: somebody
    made it read-only on purpose.
    """
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return folder.is_dir() and bool(folder.stat().st_mode & WRITE_BITS) and os.access(folder, os.W_OK)
    except OSError:  # a folder that this user may not even list
        return False
