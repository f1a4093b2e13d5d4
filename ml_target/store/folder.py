"""A folder with model files: whether it may be written, and one writer at a time."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

log = logging.getLogger(__name__)
LOCK = ".fetching"
WRITE_BITS = 0o222


def writable(folder: Path) -> bool:
    """True when files may be put there; for a folder that does not exist yet, when it may be made.

    A folder without any write bit counts as read-only for root too, who could write: somebody
    said that it should stay as it is.
    """
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return folder.is_dir() and bool(folder.stat().st_mode & WRITE_BITS) and os.access(folder, os.W_OK)
    except OSError:  # a folder that this user may not even look into
        return False


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Waits until no other process fetches into `folder`. Where locks do not work, it does not wait."""
    with ExitStack() as held:
        try:
            import fcntl

            lock = held.enter_context((folder / LOCK).open("a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info("another process is fetching into %s, waiting for it", folder)
                fcntl.flock(lock, fcntl.LOCK_EX)
        except (ImportError, OSError) as error:
            log.debug("no file locks in %s (%s)", folder, error)
        yield
