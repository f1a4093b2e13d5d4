"""Faces: detection, recognition of the same crops, and both together from picture to vector."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from ml_target.catalogue.networks import EMBEDDING
from ml_target.catalogue.types import PictureInput
from ml_target.diagnostics.checks.bounds import FACE_DETECTION, FACE_RECOGNITION, FACES, OWN_RECOGNITION
from ml_target.diagnostics.checks.face_measures import (
    ASKED,
    WIDE,
    Found,
    at_least,
    compare_boxes,
    compare_vectors,
    in_order,
    told_apart,
)
from ml_target.diagnostics.checks.measures import iou
from ml_target.diagnostics.checks.result import Check, Times
from ml_target.diagnostics.checks.samples import FACE_BOXES, FACE_LANDMARKS, Samples, lights, swapped
from ml_target.diagnostics.checks.sides import Bench, timed
from ml_target.log.trace import Trace
from ml_target.runtime.assembly import Loader
from ml_target.runtime.verdicts import Parities, Parity, compile_again
from ml_target.scheduling.model import Model, Provenance
from ml_target.tasks.clip.encoders import unit
from ml_target.tasks.faces.align import ARCFACE_SIZE, align
from ml_target.tasks.faces.finder import FaceFinder
from ml_target.tasks.faces.letterbox import letterbox
from ml_target.tasks.faces.task import FACES as FACES_TASK
from ml_target.tasks.service import Service
from ml_target.tensors import Float32, UInt8

SLACK = 0.65
"""A face near the asked score may be on either side of it."""


class FaceChecks:
    """The checks of one detector and one recogniser."""

    def __init__(self, bench: Bench, loader: Loader, samples: Samples) -> None:
        self._bench = bench
        self._loader = loader
        self._boards = samples.boards()
        self._pictures = [*self._boards, *samples.photos.values()]
        self._board = samples.board
        self._found: Found = []
        self._times: list[float] = []

    async def run(self) -> list[Check]:
        async def open_service() -> Service[FaceFinder]:
            return await self._bench.serves(lambda: self._loader.service(FACES_TASK.offer(self._loader)))

        service = await self._bench.guard("faces", open_service)
        if isinstance(service, Check):
            return [service]
        found = await self._bench.guard("faces", lambda: self._find(service.get(), self._times))
        if isinstance(found, Check):
            return [found]
        self._found = found
        steps = (("faces.detection", self._detection), ("faces.recognition", self._recognition), ("faces", self._whole))
        return [await self._bench.guard(name, partial(work, name, service)) for name, work in steps]

    def _finder(self, detector: Model, recognizer: Model) -> FaceFinder:
        """A finder with the same settings as the serving one."""
        settings = self._bench.settings
        return FaceFinder(detector, recognizer, self._bench.pool, settings.max_faces, settings.face_search)

    async def _find(self, finder: FaceFinder, times: list[float]) -> Found:
        return [await timed(finder.find(picture, SLACK, Trace()), times) for picture in self._pictures]

    # ------------------------------------------------------------- detection

    async def _detection(self, name: str, service: Service[FaceFinder]) -> Check:
        detector, recognizer = service.models
        known = [at_least(faces, ASKED) for faces in self._found[: len(self._boards)]]
        values = {
            "known": float(np.mean([len(faces) == len(FACE_BOXES) for faces in known])),
            "known_iou": float(np.mean([max([iou(box, f.box) for f in known[0]], default=0.0) for box in FACE_BOXES])),
        }
        times = Times()
        await self._time(detector, times.served)

        async def compare(twin: Model) -> dict[str, float]:
            self._bench.note([twin])
            await self._time(twin, times.twin)
            return compare_boxes(self._found, await self._find(self._finder(twin, recognizer), []))

        measured, gap = await self._bench.against(
            service, [detector.network], lambda loader: loader.model(detector.network), compare
        )
        return Check.of(name, [detector], FACE_DETECTION, values | measured, gap, times)

    async def _time(self, detector: Model, times: list[float]) -> None:
        """Times the network alone."""
        spec = detector.network.input
        assert isinstance(spec, PictureInput)
        for board in self._boards:
            frame, _ = letterbox(board, spec.height, spec.width)
            await timed(detector.infer([frame]), times)

    # ----------------------------------------------------------- recognition

    async def _recognition(self, name: str, service: Service[FaceFinder]) -> Check:
        _, recognizer = service.models
        bundled = lights(align(self._board, FACE_LANDMARKS, ARCFACE_SIZE))
        crops = [*bundled, *self._photos_crops()]
        times = Times()
        ours = await _describe(recognizer, crops, times.served)
        # Every fourth crop is of the same person.
        known = enumerate(ours[: len(bundled)])
        values = {"told_apart": told_apart([(n % len(FACE_LANDMARKS), each) for n, each in known])}
        own = recognizer.network.template is not None
        compared: list[Provenance] = []

        async def compare(twin: Model) -> dict[str, float]:
            self._bench.note([twin])
            compared.append(twin.provenance)
            theirs = await _describe(twin, crops, times.twin)
            other = await _describe(recognizer, list(map(swapped, crops)), [])
            alike = (ours * theirs).sum(axis=1)
            return {
                "cosine_mean": float(alike.mean()),
                **({"cosine_least": float(alike.min())} if own else {"cosine_p5": float(np.percentile(alike, 5))}),
                "colours": float(alike.mean() - (other * theirs).sum(axis=1).mean()),
            }

        measured, gap = await self._bench.against(
            service, [recognizer.network], lambda loader: loader.model(recognizer.network), compare
        )
        bounds = OWN_RECOGNITION if own else FACE_RECOGNITION
        check = Check.of(name, [recognizer], bounds, values | measured, gap, times)
        if not own or not compared:
            return check
        return self._recorded(replace(check, own_remedy=compile_again(recognizer.network)), recognizer, compared[0])

    def _photos_crops(self) -> list[UInt8]:
        """The faces of the user's own photos, as far as they are large enough."""
        pictures, found = self._pictures[len(self._boards) :], self._found[len(self._boards) :]
        crops = []
        for picture, faces in zip(pictures, found, strict=True):
            wide = [face.landmarks for face in at_least(faces, ASKED) if face.box[2] - face.box[0] >= WIDE]
            crops += align(picture, np.stack(wide), ARCFACE_SIZE) if wide else []
        return crops

    def _recorded(self, check: Check, recognizer: Model, twin: Provenance) -> Check:
        """The check of the owner's own HEF, once the worker can know its verdict. Raises ModelError if it cannot."""
        network, store = recognizer.network, self._bench.store
        path = self._loader.network_file(network, self._loader.engine(network))
        found = "; ".join(figure.words for figure in check.figures)
        parity = Parity(path.name, twin.sha256, check.verdict != "WRONG", found)
        Parities(store.target).put(path, recognizer.provenance.sha256, parity)
        return check

    # ------------------------------------------------------------ end to end

    async def _whole(self, name: str, service: Service[FaceFinder]) -> Check:
        networks = [model.network for model in service.models]
        values = {}
        if persons := in_order(self._found[: len(self._boards)]):
            values["told_apart"] = told_apart(persons)
        times = Times(self._times)

        async def compare(twins: list[Model]) -> dict[str, float]:
            return compare_vectors(self._found, await self._find(self._finder(*twins), times.twin))

        def load(loader: Loader) -> list[Model]:
            return [loader.model(network) for network in networks]

        measured, gap = await self._bench.against(service, networks, load, compare)
        return Check.of(name, service.models, FACES, values | measured, gap, times)


async def _describe(model: Model, crops: Sequence[UInt8], times: list[float]) -> Float32:
    outputs = [(await timed(model.infer([crop]), times))[0] for crop in crops]
    return np.stack([unit(each[EMBEDDING].real().reshape(-1), model.network.name) for each in outputs])
