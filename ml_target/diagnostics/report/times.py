"""How long one network took: a line of JSON between two processes, a row of a table in the report."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

BURST = 8


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds per frame, alone and in a burst of `burst` frames. `failed`: why there are none.

    Without times and without `failed`, the network's file is missing.
    """

    network: str
    engine: str
    load_s: float = 0.0
    alone_ms: float = 0.0
    burst_ms: float = 0.0
    burst: int = 0
    failed: str = ""

    def line(self) -> str:
        """The line that `read` reads."""
        return json.dumps(asdict(self))

    def row(self) -> str:
        """The row of the table."""
        start = f"{self.network:50}  {self.engine:5}  "
        if self.failed:
            return f"{start}FAILED: {self.failed}"
        if not self.burst:
            return f"{start}its file is not there"
        note = "" if self.burst == BURST else f" (with {self.burst})"
        return f"{start}{self.load_s:8.2f}  {self.alone_ms:12.2f}  {self.burst_ms:18.2f}{note}"


def read(text: str) -> list[Times]:
    """The times in a process's output; ignores all other lines, such as a last one that is cut off."""
    return [times for line in text.splitlines() if (times := _parsed(line))]


def _parsed(line: str) -> Times | None:
    try:
        return Times(**json.loads(line))
    except (ValueError, TypeError):
        return None


def table(times: Iterable[Times]) -> str:
    """A table with a heading."""
    heading = f"{'network':50}  {'on':5}  {'load s':>8}  {'1 frame ms':>12}  {f'{BURST} frames, ms each':>18}"
    return "\n".join([heading, *(each.row() for each in times)])
