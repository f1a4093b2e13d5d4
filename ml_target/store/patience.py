"""How often, and how soon, a transfer that was cut is tried again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ml_target.store.faults import CutError

TRIES = 4


class Patience:
    """Lets attempts fail with CutError, up to TRIES in a row that gained nothing."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._failed = 0

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """One attempt. A cut ends it quietly after a pause that grows; the last one raises CutError."""
        try:
            yield
        except CutError:
            self._failed += 1
            if self._failed == TRIES:
                raise
            time.sleep(self._pause_s * 2 ** (self._failed - 1))

    def gained(self) -> None:
        """Something has come: the count begins anew."""
        self._failed = 0
