"""A loaded network that answers what a test tells it to."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ml_target.engines import Intake
from ml_target.tensors import Array, Outputs


@dataclass
class Scripted:
    """A loaded network that answers what it is told to and remembers what it was asked."""

    intake: Intake
    answer: Callable[[Array], Outputs]
    max_batch: int = 8
    roles: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    seen: list[Array] = field(default_factory=list)

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        self.seen += frames
        return [self.answer(frame) for frame in frames]

    def close(self) -> None: ...
