"""How long one network took: a line of JSON between two processes, a row of a table in the report."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

BURST = 8


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds are those of a frame, alone and in a burst of `burst`. `failed`: in words, instead of them.

    Without times and fault the network's file is not there.
    """

    network: str
    engine: str
    load_s: float = 0.0
    alone_ms: float = 0.0
    burst_ms: float = 0.0
    burst: int = 0
    failed: str = ""

    def line(self) -> str:
        """For `read`."""
        return json.dumps(asdict(self))

    def row(self) -> str:
        """Of the table."""
        start = f"{self.network:50}  {self.engine:5}  "
        if self.failed:
            return f"{start}FAILED: {self.failed}"
        if not self.burst:
            return f"{start}its file is not there"
        note = "" if self.burst == BURST else f" (with {self.burst})"
        return f"{start}{self.load_s:8.2f}  {self.alone_ms:12.2f}  {self.burst_ms:18.2f}{note}"


def read(text: str) -> list[Times]:
    """Of what a process printed: anything else is left out, such as a last line that is cut."""
    return [times for line in text.splitlines() if (times := _parsed(line))]


def _parsed(line: str) -> Times | None:
    try:
        return Times(**json.loads(line))
    except (ValueError, TypeError):
        return None


def table(times: Iterable[Times]) -> str:
    """With a heading."""
    heading = f"{'network':50}  {'on':5}  {'load s':>8}  {'1 frame ms':>12}  {f'{BURST} frames, ms each':>18}"
    return "\n".join([heading, *(each.row() for each in times)])
