"""Text: the detector's masks and the recogniser's words for the same frames, and both together."""

from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np

from ml_target.catalogue.networks import CLASS_SCORES, PROBABILITY, service_label
from ml_target.catalogue.types import PictureInput, TextModel
from ml_target.diagnostics.checks.bounds import OCR, OCR_DETECTION, OCR_RECOGNITION
from ml_target.diagnostics.checks.measures import edits, error_rate, mask_iou, match
from ml_target.diagnostics.checks.result import Check, Times
from ml_target.diagnostics.checks.samples import BOARD_LINES, LABELS, Samples, cell, swapped
from ml_target.diagnostics.checks.sides import Bench, on, timed
from ml_target.log.trace import Trace
from ml_target.runtime.assembly import Loader
from ml_target.scheduling.model import Model
from ml_target.tasks.ocr.ctc import Alphabet, decode, read_glyphs
from ml_target.tasks.ocr.reader import Line, ReadOptions, TextReader
from ml_target.tasks.ocr.task import OCR as OCR_TASK
from ml_target.tasks.service import Service
from ml_target.tensors import Array, Outputs, UInt8

OPTIONS = ReadOptions(min_text_score=0.8)
"""Immich's own."""

TEXT = 0.3
"""Probability from which a pixel is text."""

HALF, FEW = 0.5, 0.1
"""How much of an area with text, and of one without, a right mask covers: at least the first, less than the second."""

GREY = 128
STEP = 8
"""Columns per step of the recogniser; letter positions do not matter here."""

SAME_PLACE, SAME_LINE = 0.7, 0.5
"""IoU of two boxes around a line."""

Words = list[tuple[str, float]]


class OcrChecks:
    """The checks of the two networks of a text model."""

    def __init__(self, bench: Bench, loader: Loader, model: TextModel, samples: Samples) -> None:
        self._bench = bench
        self._loader = loader
        self._offer = OCR_TASK.offer(model)
        self._samples = samples
        self._pictures = [samples.board, samples.labels, *samples.photos.values()]

    async def run(self) -> list[Check]:
        async def open_service() -> Service[TextReader]:
            return await self._bench.serves(lambda: self._loader.service(self._offer))

        steps = (("ocr.detection", self._detection), ("ocr.recognition", self._recognition), ("ocr", self._whole))
        names = [service_label(step, self._offer.variant) for step, _ in steps]
        service = await self._bench.guard(names[-1], open_service)
        if isinstance(service, Check):
            return [service]
        return [
            await self._bench.guard(name, partial(work, name, service))
            for name, (_, work) in zip(names, steps, strict=True)
        ]

    # ------------------------------------------------------------- detection

    async def _detection(self, name: str, service: Service[TextReader]) -> Check:
        detector, _ = service.models
        frames = self._frames(detector)
        times = Times()
        ours = await _masks(detector, frames, times.served)
        values = {"known": self._labels_seen(_picture_input(detector), ours[2])}

        async def compare(twin: Model) -> dict[str, float]:
            self._bench.note([twin])
            theirs = await _masks(twin, frames, times.twin)
            other = await _masks(detector, list(map(swapped, frames)), [])
            shared, exchanged = (float(np.mean(list(map(mask_iou, side, theirs)))) for side in (ours, other))
            return {"mask_iou": shared, "colours": shared - exchanged}

        measured, gap = await self._bench.against(
            service, [detector.network], lambda loader: loader.model(detector.network), compare
        )
        return Check.of(name, [detector], OCR_DETECTION, values | measured, gap, times)

    def _frames(self, detector: Model) -> list[UInt8]:
        """Upper and lower half of both pages at the detector's size, in its order of colours."""
        spec = _picture_input(detector)
        found = []
        for page in (self._samples.board, self._samples.labels):
            high = round(page.shape[0] * spec.width / page.shape[1])
            scaled = swapped(np.asarray(cv2.resize(page, (spec.width, high), interpolation=cv2.INTER_AREA), np.uint8))
            found += [np.ascontiguousarray(half) for half in (scaled[: spec.height], scaled[-spec.height :])]
        return found

    def _labels_seen(self, spec: PictureInput, mask: Array) -> float:
        """The share of labels in the upper half of their page whose middle, and only that, the mask covers."""
        scale = spec.width / self._samples.labels.shape[1]
        seen = []
        for number, label in enumerate(LABELS):
            left, top, right, bottom = (round(side * scale) for side in cell(number))
            if bottom > spec.height:
                break
            x, y, half = (left + right) // 2, (top + bottom) // 2, round(label.size * scale / 4)
            middle, edge = mask[y - half : y + half, x - half : x + half], mask[top : top + half, left:right]
            seen.append(middle.mean() >= HALF and edge.mean() < FEW)
        return float(np.mean(seen))

    # ----------------------------------------------------------- recognition

    async def _recognition(self, name: str, service: Service[TextReader]) -> Check:
        _, recognizer = service.models
        alphabet = service.get().alphabet
        known, frames = zip(*self._strips(recognizer), strict=True)
        times = Times()
        ours = await _words(recognizer, frames, alphabet, times.served)

        async def compare(twin: Model) -> dict[str, float]:
            self._bench.note([twin])
            theirs = await _words(twin, frames, alphabet, times.twin)
            return {
                "cer": error_rate([(a, b) for (a, _), (b, _) in zip(ours, theirs, strict=True)]),
                "scores": float(np.mean([abs(a - b) for (_, a), (_, b) in zip(ours, theirs, strict=True)])),
            }

        measured, gap = await self._bench.against(
            service, [recognizer.network], lambda loader: loader.model(recognizer.network), compare
        )
        values = {"known_cer": error_rate([(text, word) for (text, _), word in zip(ours, known, strict=True)])}
        return Check.of(name, [recognizer], OCR_RECOGNITION, values | measured, gap, times)

    def _strips(self, recognizer: Model) -> list[tuple[str, UInt8]]:
        """Each label with its frame: scaled to the recogniser's height, mid-grey behind it, its order of colours."""
        spec = _picture_input(recognizer)
        found: list[tuple[str, UInt8]] = []
        for text, strip in self._samples.strips():
            width = min(spec.width, round(strip.shape[1] * spec.height / strip.shape[0]))
            frame = np.full((spec.height, spec.width, 3), GREY, np.uint8)
            frame[:, :width] = swapped(np.asarray(cv2.resize(strip, (width, spec.height)), np.uint8))
            found.append((text, frame))
        return found

    # ------------------------------------------------------------ end to end

    async def _whole(self, name: str, service: Service[TextReader]) -> Check:
        times = Times()
        ours = await self._read(service.get(), times.served)

        async def compare(twin: Service[TextReader]) -> dict[str, float]:
            theirs = await self._read(twin.get(), times.twin)
            sizes = [picture.shape[1::-1] for picture in self._pictures]
            return compare_lines(ours, theirs, sizes)

        networks = [model.network for model in service.models]
        measured, gap = await self._bench.against(
            service, networks, lambda loader: on(loader.service(self._offer)), compare
        )
        known = (BOARD_LINES, tuple(label.text for label in LABELS))
        values = {
            "known_cer": error_rate([pair for page in zip(ours, known, strict=False) for pair in _nearest_texts(*page)])
        }
        return Check.of(name, service.models, OCR, values | measured, gap, times)

    async def _read(self, reader: TextReader, times: list[float]) -> list[list[Line]]:
        return [await timed(reader.read(picture, OPTIONS, Trace()), times) for picture in self._pictures]


def _picture_input(model: Model) -> PictureInput:
    spec = model.network.input
    assert isinstance(spec, PictureInput)
    return spec


async def _masks(model: Model, frames: Sequence[UInt8], times: list[float]) -> list[Array]:
    """Which pixels of each frame are text."""
    masks = []
    for frame in frames:
        (outputs,) = await timed(model.infer([frame]), times)
        probability = outputs[PROBABILITY]
        masks.append(np.asarray(probability.values >= probability.raw(TEXT)).squeeze())
    return masks


async def _words(model: Model, frames: Sequence[UInt8], alphabet: Alphabet, times: list[float]) -> Words:
    """Text and score of each frame."""
    outputs: list[Outputs] = [(await timed(model.infer([frame]), times))[0] for frame in frames]
    return [decode(read_glyphs(each[CLASS_SCORES], STEP), alphabet) for each in outputs]


def compare_lines(
    ours: Sequence[Sequence[Line]], theirs: Sequence[Sequence[Line]], sizes: Sequence[tuple[int, ...]]
) -> dict[str, float]:
    """How many lines are at the same position, and how the text of matching lines differs."""
    total, placed, met = 0, 0, list[tuple[Line, Line]]()
    for mine, other, size in zip(ours, theirs, sizes, strict=True):
        boxes = [[_box(line, size) for line in side] for side in (mine, other)]
        for i, j, overlap in match(boxes[0], boxes[1], SAME_LINE):
            placed += overlap >= SAME_PLACE
            met.append((mine[i], other[j]))
        total += max(len(mine), len(other))
    values = {"boxes": placed / total if total else 0.0}
    if met:
        values["cer"] = error_rate([(a.text, b.text) for a, b in met])
        values["scores"] = float(np.mean([abs(a.text_score - b.text_score) for a, b in met]))
    return values


def _box(line: Line, size: tuple[int, ...]) -> tuple[float, float, float, float]:
    """The upright box around a line, in pixels."""
    corners = line.corners * np.array(size, np.float32)
    (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def _nearest_texts(lines: Sequence[Line], known: Sequence[str]) -> list[tuple[str, str]]:
    """For every known line the closest line that was read; "" if nothing was read."""
    texts = [line.text for line in lines] or [""]
    return [(min(texts, key=partial(edits, word)), word) for word in known]
