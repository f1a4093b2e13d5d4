"""What happened to one request: milliseconds per stage, counts, warnings. It becomes one log line."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Trace:
    """Filled by the tasks of one request, all on the event loop's thread."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.warnings: list[str] = []
        self.tasks: list[str] = []
        self.engines: list[str] = []
        """Those that run the networks, in the order in which they come first."""
        self.picture: tuple[int, int] | None = None
        """Width and height."""
        self._start = time.perf_counter()

    @property
    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self._start) * 1000

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the wall time of the block, in milliseconds, to stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + (time.perf_counter() - start) * 1000

    def count(self, name: str, number: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + number

    def warn(self, text: str) -> None:
        """Something the operator should know about this answer, although it is right."""
        self.warnings.append(text)
