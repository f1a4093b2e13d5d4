"""A loaded model, as the tasks see it."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ml_target.catalogue.types import Network
from ml_target.engines import Intake, LoadedNetwork
from ml_target.tensors import Array, Outputs


class InferencePool:
    """Threads on which an engine runs. Text queries have a thread of their own: they never wait for bulk work."""

    def __init__(self, workers: int) -> None:
        self._bulk = ThreadPoolExecutor(workers, thread_name_prefix="infer")
        self._interactive = ThreadPoolExecutor(1, thread_name_prefix="infer-text")

    def of(self, interactive: bool) -> ThreadPoolExecutor:
        return self._interactive if interactive else self._bulk

    def close(self) -> None:
        for executor in (self._bulk, self._interactive):
            executor.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which file serves a network, for the log and the status page."""

    file: str
    sha256: str
    engine: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """One network on one engine: `await model.infer(frames)` and nothing else."""

    network: Network
    loaded: LoadedNetwork
    pool: InferencePool
    provenance: Provenance
    interactive: bool = field(default=False)

    @property
    def intake(self) -> Intake:
        """Shape and dtype of one frame."""
        return self.loaded.intake

    async def infer(self, frames: Sequence[Array]) -> list[Outputs]:
        """The outputs of every frame, in order. Frames of one shape share batches.

        Frames are uint8 pictures in the catalogue's colour order, or text tensors, as `intake`
        says. Raises EngineFault.
        """
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, frame in enumerate(frames):
            groups.setdefault(frame.shape, []).append(index)
        results: dict[int, Outputs] = {}
        loop = asyncio.get_running_loop()
        for indices in groups.values():
            for start in range(0, len(indices), self.loaded.max_batch):
                batch = indices[start : start + self.loaded.max_batch]
                outputs = await loop.run_in_executor(
                    self.pool.of(self.interactive), self.loaded.run, [frames[i] for i in batch]
                )
                results.update(zip(batch, outputs, strict=True))
        return [results[i] for i in range(len(frames))]
