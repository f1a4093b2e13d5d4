"""Says how a long transfer goes: one line that changes on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable
from typing import TextIO

MB = 1_000_000
REDRAW_S = 0.2
LINE_S = 5.0
LINE_SHARE = 0.1


class Transfer:
    """One file on its way. Use as a context manager: leaving it ends the line."""

    def __init__(self, label: str, total: int | None, out: TextIO | None, clock: Callable[[], float]) -> None:
        self.label, self.total = label, total
        self._out, self._clock = out, clock
        self._live = out is not None and out.isatty()
        self._start = self._said = clock()
        self._done = self._gained = self._said_done = 0

    def __enter__(self) -> "Transfer":
        return self

    def __exit__(self, *_: object) -> None:
        if self._gained:
            self._say(end=True)

    def expect(self, total: int | None, done: int) -> None:
        """Sets bytes in all and bytes already there (from an earlier, cut transfer)."""
        self.total, self._done = total, done
        self._said_done = done

    def advance(self, count: int) -> None:
        """`count` more bytes have come."""
        self._done += count
        self._gained += count
        since = self._clock() - self._said
        if self._live:
            due = since >= REDRAW_S
        else:
            share = (self._done - self._said_done) / self.total if self.total else 0.0
            due = since >= LINE_S or (since >= 1.0 and share >= LINE_SHARE)
        if due:
            self._say()

    def text(self) -> str:
        """File, MB of MB, MB/s, time left."""
        seconds = max(self._clock() - self._start, 1e-6)
        speed = self._gained / seconds
        parts = [f"{self._done / MB:.1f}" + (f" of {self.total / MB:.1f} MB" if self.total else " MB")]
        parts.append(f"{speed / MB:.1f} MB/s")
        if self.total and speed and self._done < self.total:
            left = int((self.total - self._done) / speed)
            parts.append(f"{left // 60}:{left % 60:02d} left")
        return f"{self.label}: {', '.join(parts)}"

    def _say(self, *, end: bool = False) -> None:
        if self._out is None:
            return
        self._said, self._said_done = self._clock(), self._done
        if self._live:
            self._out.write(f"\r\x1b[K{self.text()}" + ("\n" if end else ""))
        else:
            self._out.write(self.text() + "\n")
        self._out.flush()


class Progress:
    """Where the progress of transfers is shown. `out` None: nowhere."""

    def __init__(self, out: TextIO | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock = out, clock

    def transfer(self, label: str, total: int | None = None) -> Transfer:
        """A transfer of `total` bytes (None: unknown), to be advanced as they come."""
        return Transfer(label, total, self._out, self._clock)

    def say(self, text: str) -> None:
        """One line for a step whose progress is not seen."""
        if self._out is not None:
            self._out.write(text + "\n")
            self._out.flush()
