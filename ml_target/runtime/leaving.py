"""Ends a process that cannot go on: in good order, and within a bounded time."""

import os
import signal
import threading

LEAVE_S = 10.0
"""Seconds for answers that are on their way; what the stopping server would wait for beyond that never comes."""

HURRY_S = 6.0
"""Seconds until a second signal tells the server not to wait: clients left get 503, not a closed connection."""


def leave(status: int) -> None:
    """Stops the server as SIGTERM does; ends the process with `status` at once where there is none, or when it hangs.

    The server refuses new connections and answers what it has accepted. Closing the engine that
    hangs then ends the process with the same status.
    """
    if signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, None):
        os._exit(status)
    again = threading.Timer(HURRY_S, os.kill, (os.getpid(), signal.SIGTERM))
    last = threading.Timer(LEAVE_S, os._exit, (status,))
    for timer in (again, last):
        timer.daemon = True
        timer.start()
    os.kill(os.getpid(), signal.SIGTERM)
