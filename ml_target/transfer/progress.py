"""Shows how far transfers have come: on a terminal, or in a log. tqdm draws; a log gets lines of their own."""

from typing import Any, TextIO

from tqdm import tqdm

REDRAW_S, LINE_S = 0.2, 5.0
SOME, OF_ALL, RATE, LEFT = "{desc}: {n_fmt}B", " of {total_fmt}B", ", {rate_noinv_fmt}", ", {remaining} left"
"""What tqdm fills in: `net.hef: 10.0MB of 100MB, 2.00MB/s, 00:45 left`."""


class _Lines:
    """A log as tqdm's output file: each redraw becomes a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, text: str) -> None:
        if text.strip():
            self._out.write(text.strip() + "\n")

    def flush(self) -> None:
        self._out.flush()


class Transfer:
    """A context manager that shows one file's progress: a line redrawn on a terminal, a line now and then elsewhere."""

    def __init__(self, label: str, out: TextIO | None) -> None:
        self._label, self._out = label, out
        self._live = out is not None and out.isatty()
        self._bar: Any = None

    def __enter__(self) -> "Transfer":
        return self

    def __exit__(self, *_: object) -> None:
        bar = self._bar
        if bar is not None and bar.n > bar.initial:  # nothing transferred, nothing to show
            bar.bar_format = bar.bar_format.removesuffix(LEFT)
            bar.refresh()
            bar.leave, bar.delay = self._live, 0  # in a log the last line is already there
            bar.close()

    def expect(self, total: int | None, done: int) -> None:
        """Sets the total bytes, and the bytes already there from an earlier, interrupted transfer."""
        if self._bar is None and self._out is not None:
            self._bar = tqdm(
                desc=self._label,
                total=total,
                initial=done,
                file=self._out if self._live else _Lines(self._out),
                unit="B",
                unit_scale=True,
                mininterval=REDRAW_S if self._live else LINE_S,
                miniters=1,
                delay=1e-9,
                bar_format=f"{SOME}{OF_ALL}{RATE}{LEFT}" if total else f"{SOME}{RATE}",
            )
        elif self._bar is not None and done < self._bar.n:
            self._bar.reset(total)

    def advance(self, count: int) -> None:
        """Adds `count` transferred bytes."""
        if self._bar is not None:
            self._bar.update(count)


class Progress:
    """Where the progress of transfers is shown. `out` None: nowhere."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        tqdm.monitor_interval = 0  # no monitor thread

    def transfer(self, label: str) -> Transfer:
        """A new transfer: call `expect`, then `advance` as bytes arrive."""
        return Transfer(label, self._out)

    def say(self, text: str) -> None:
        """One line for a step without visible progress."""
        if self._out is not None:
            self._out.write(text + "\n")
            self._out.flush()
