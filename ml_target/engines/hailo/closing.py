"""Closing configured models, which may hang: with a time limit, and never when it is known to hang.

- Closing a model whose card is gone: HailoRT waits for its frames, ten seconds for each slot in the
  queue. It does so without the GIL, so the rest of the worker goes on: after `CLOSE_S` the caller
  gets `CardHangs`, every waiting request gets a 503, and the process exits.
- HailoRT's interrupt thread ends, or sleeps forever, if the card was gone even for a moment. The
  next `configure()` or `release()` would wait for it with the GIL held. So `CardHangs` is raised
  first: if that thread has ended, or if the driver says that it cannot reach the card.
"""

import faulthandler
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from ml_target.engines.hailo.network import HailoNetwork
from ml_target.engines.hailo.watchdog import REMEDY, STDERR, WATCH_S, bounded, in_time
from ml_target.errors import EXIT_HUNG, CardHangs

CLOSE_S = 15.0
"""For all models together. One whose frames have ended closes within milliseconds; HailoRT waits up to ten seconds for
a submission under way; anything longer is waiting, for minutes, for frames that will never end."""

SETTLE_S = 0.1
"""Between closing models and the next call that holds the GIL: HailoRT's scheduler destroys the callbacks of frames
that were in flight, needs the GIL for that, and holds a lock that such a call needs (deadlock seen in 8 of 27 trials
without a pause, in 0 of 200 with this one)."""

INTERRUPTS = "CHANNEL_INTR"
"""HailoRT 4.23's name for the thread that receives completions; one per device."""


class Closing:
    """Closes models. `hung`: why that is no longer possible, with the remedy; "" while it is."""

    def __init__(self, wait: Callable[[float], None] = time.sleep) -> None:
        self.hung = ""
        self._wait = wait
        self._listeners = 0

    def configured(self) -> None:
        """A model was configured: from now on the card's interrupt thread has to exist."""
        self._listeners = threads_named(INTERRUPTS)

    def all_gone(self) -> None:
        """No model is on the card any more, and the card is about to be released."""
        self._listeners = 0

    def close(self, networks: Sequence[HailoNetwork]) -> None:
        """Closes configured models, then leaves the GIL for a moment. Raises CardHangs."""
        if threads_named(INTERRUPTS) < self._listeners:  # before the return: releasing the device would hang as well
            self.hangs("HailoRT's interrupt thread has ended: the card was gone, if only for a moment")
        if not any(network.on_card for network in networks):
            return
        closed = threading.Event()

        def close() -> None:
            try:
                for network in networks:
                    network.close()
            finally:
                closed.set()

        with bounded("closing models", CLOSE_S + WATCH_S):  # the end of a destructor holds the GIL
            threading.Thread(target=close, name="teardown", daemon=True).start()
            if not in_time(closed, CLOSE_S):
                self.hangs(f"HailoRT did not close a model within {CLOSE_S:g} s: the card no longer answers")
        self._wait(SETTLE_S)

    def hangs(self, what: str) -> NoReturn:
        """Raises CardHangs after writing all stacks to the log."""
        faulthandler.dump_traceback(STDERR)
        self.hung = (
            f"{what}. Only a new process can use it again, so this one ends with status {EXIT_HUNG}, the stacks of "
            f"its threads above: {REMEDY}."
        )
        raise CardHangs(self.hung)


def threads_named(name: str) -> int:
    """How many threads of this process have this name, HailoRT's own included."""
    found = 0
    for comm in Path("/proc/self/task").glob("*/comm"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found += comm.read_text().strip() == name
    return found
