"""Smart search: pictures and queries on both engines, and whether queries find their pictures."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from ml_target.catalogue.types import ClipBackend
from ml_target.diagnostics.checks.bounds import CLIP_SEARCH, CLIP_TEXTUAL, CLIP_VISUAL, Bound
from ml_target.diagnostics.checks.measures import same_neighbours
from ml_target.diagnostics.checks.result import Check, Gap, NotChecked, Times
from ml_target.diagnostics.checks.samples import FINDS, PARTS, QUERIES, Samples, copies, swapped
from ml_target.diagnostics.checks.sides import Bench, on, timed
from ml_target.log.trace import Trace
from ml_target.runtime.assembly import Loader
from ml_target.scheduling.model import Model
from ml_target.tasks.clip.encoders import PictureEncoder, TextEncoder
from ml_target.tasks.clip.task import CLIP
from ml_target.tasks.service import Service
from ml_target.tensors import Float32

T = TypeVar("T")


class ClipChecks:
    """The checks of one backend. The last one uses the results of the first two."""

    def __init__(self, bench: Bench, loader: Loader, backend: ClipBackend, samples: Samples) -> None:
        self._bench = bench
        self._loader = loader
        self._backend = backend
        self._pictures, self._texts = CLIP.pictures(backend), CLIP.texts(backend)
        self._samples = samples
        self._parts: dict[str, Float32] = {}
        self._queries: dict[str, Float32] = {}
        self._models: list[Model] = []
        self._gaps: list[Gap] = []

    async def run(self) -> list[Check]:
        steps = (("clip.visual", self._visual), ("clip.textual", self._textual), ("clip search", self._search))
        names = [f"{step} ({self._backend.name})" for step, _ in steps]
        return [
            await self._bench.guard(name, partial(work, name)) for name, (_, work) in zip(names, steps, strict=True)
        ]

    async def _visual(self, name: str) -> Check:
        service = await self._bench.serves(lambda: self._loader.service(self._pictures))
        encoder, times, gallery = service.get(), Times(), self._samples.gallery()
        ours = await vectors(encoder.embed, gallery, times.served)
        self._parts = dict(zip(PARTS, ours, strict=False))
        values = {
            "apart": max(float(self._parts[a] @ self._parts[b]) for a, b in (("boy", "lines"), ("woman", "title"))),
            "copies": await self._copies(encoder),
        }

        async def compare(twin: Service[PictureEncoder]) -> dict[str, float]:
            self._bench.note(twin.models)
            theirs = await vectors(twin.get().embed, gallery, times.twin)
            alike = (ours * theirs).sum(axis=1)
            warm = slice(len(PARTS), 2 * len(PARTS))  # where the colour order shows
            other = await vectors(encoder.embed, list(map(swapped, gallery[warm])), [])
            return {
                "cosine_mean": float(alike.mean()),
                "cosine_least": float(alike.min()),
                "first_ten": same_neighbours(ours, theirs),
                "colours": float((alike[warm] - (other * theirs[warm]).sum(axis=1)).mean()),
            }

        measured, gap = await self._bench.against(
            service, [self._backend.visual], lambda loader: on(loader.service(self._pictures)), compare
        )
        return self._check(name, service, CLIP_VISUAL, values | measured, gap, times)

    async def _copies(self, encoder: PictureEncoder) -> float:
        """The farthest distance between copies of one picture."""
        parts = self._samples.parts()
        farthest = 0.0
        for name in ("board", "woman"):
            found = await vectors(encoder.embed, [parts[name], *copies(parts[name])], [])
            farthest = max(farthest, float(1 - (found @ found.T).min()))
        return farthest

    async def _textual(self, name: str) -> Check:
        service = await self._bench.serves(lambda: self._loader.service(self._texts))
        times = Times()
        ours = await vectors(service.get().embed, QUERIES, times.served)
        self._queries = dict(zip(QUERIES, ours, strict=True))
        values = {"apart": float((ours @ ours.T - 2 * np.eye(len(ours))).max())}

        async def compare(twin: Service[TextEncoder]) -> dict[str, float]:
            self._bench.note(twin.models)
            theirs = await vectors(twin.get().embed, QUERIES, times.twin)
            alike = (ours * theirs).sum(axis=1)
            return {"cosine_mean": float(alike.mean()), "cosine_least": float(alike.min())}

        measured, gap = await self._bench.against(
            service, [self._backend.textual], lambda loader: on(loader.service(self._texts)), compare
        )
        return self._check(name, service, CLIP_TEXTUAL, values | measured, gap, times)

    def _check(
        self,
        name: str,
        service: Service[Any],
        bounds: Mapping[str, Bound],
        values: Mapping[str, float],
        gap: Gap | None,
        times: Times,
    ) -> Check:
        self._models += service.models
        self._gaps += [gap] if gap else []
        return Check.of(name, service.models, bounds, values, gap, times)

    async def _search(self, name: str) -> Check:
        """Whether queries find their pictures, and so whether towers, tokenizer and weights belong together."""
        if not (self._parts and self._queries):
            raise NotChecked(Gap("it takes a picture tower and a text tower"))
        among = set(FINDS.values())
        found = 0
        for query, wanted in FINDS.items():
            likeness = {part: float(self._queries[query] @ self._parts[part]) for part in among}
            found += max(likeness, key=lambda part: likeness[part]) == wanted
        gap = Gap("neither of its towers was compared") if len(self._gaps) == 2 else None
        return Check.of(name, self._models, CLIP_SEARCH, {"found": found / len(FINDS)}, gap)


async def vectors(embed: Callable[[T, Trace], Awaitable[Float32]], inputs: Sequence[T], times: list[float]) -> Float32:
    """N x width, one row for each input, in turn."""
    return np.stack([await timed(embed(each, Trace()), times) for each in inputs])
