"""What happened to one request: milliseconds per stage, counts, warnings. It becomes one log line."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = {
    "receive": "the upload arrives, and its form is read",
    "load": "networks that were unloaded are loaded again",
    "wait": "for memory, or for the process that decodes pictures out of the ordinary",
    "decode": "the file becomes pixels",
    "prepare": "pixels or words become what the first network takes",
    "infer": "the network of a search, with the wait in its queue",
    "detect": "the network that finds, with the wait in its queue",
    "boxes": "what it answered becomes boxes",
    "align": "faces are cut out upright",
    "crop": "lines are cut out",
    "recognise": "the network that describes or reads, with the wait in its queue",
    "characters": "what it answered becomes text",
}
"""What each stage is, in log line, `Server-Timing`, `/metrics` and page; a task puts its name before: `ocr.boxes`."""


class Trace:
    """Filled by the tasks of one request, all on the event loop's thread."""

    def __init__(self, id: str = "") -> None:
        self.id = id
        """Of the request, in log line, answer and page."""
        self.stages: dict[str, float] = {}
        self.counts: dict[str, int] = {}
        self.warnings: list[str] = []
        self.tasks: dict[str, str] = {}
        """Each service asked for, with the prefix of the stages that are its own."""
        self.engines: list[str] = []
        """Those that run the networks, in the order in which they come first."""
        self.bytes = 0
        """Of the body, as far as it was read."""
        self.pictured = False
        """Whether the request held a picture."""
        self.picture: tuple[int, int] | None = None
        """Width and height."""
        self._start = time.perf_counter()

    @property
    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self._start) * 1000

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the wall time of the block, in milliseconds, to stage `name`: one of `STAGES`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + (time.perf_counter() - start) * 1000

    def part(self, name: str, whole: str, ms: float) -> None:
        """Milliseconds that were counted as `whole` were those of stage `name`."""
        self.stages[whole] -= ms
        self.stages[name] = self.stages.get(name, 0.0) + ms

    def of(self, prefix: str) -> Iterator[tuple[str, float]]:
        """The stages, with their milliseconds, of the service whose stages have this prefix, and those of all."""
        for stage, ms in self.stages.items():
            owner, dot, _ = stage.partition(".")
            if not dot or owner == prefix:
                yield stage, ms

    def count(self, name: str, number: int) -> None:
        self.counts[name] = self.counts.get(name, 0) + number

    def warn(self, text: str) -> None:
        """Something the operator should know about this answer, although it is right."""
        self.warnings.append(text)
