"""A folder with model files: one writer at a time."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

log = logging.getLogger(__name__)
LOCK = ".fetching"


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
