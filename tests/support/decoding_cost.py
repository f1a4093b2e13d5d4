"""What post-processing costs the host: this worker's beside RapidOCR's own, on the same tensors in the same run.

Each side gets the tensors as its engine hands them over: RapidOCR floats, this worker the bytes that a card gives (the
same numbers). Processor time of the thread, the best of several turns A B A B: a busy machine slows both.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from rapidocr_reference import BATCH, RapidOcrReader
from text_pages import Page

from ml_target.tasks.ocr.ctc import Alphabet, decode, read_glyphs
from ml_target.tasks.ocr.dbnet import find_boxes
from ml_target.tensors import Float32, Tensor, UInt8

TURNS = 5
LINES = 24
"""Lines of a page whose tensors are kept: 24 at 40 x 18,385 are 71 MB of floats."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of processor for one page."""

    name: str
    ours: float
    theirs: float


def measure(pages: Sequence[Page], reference: RapidOcrReader) -> list[Cost]:
    """DB and CTC of every page."""
    alphabet = Alphabet.from_file(reference.dictionary)
    costs = []
    for page in pages:
        size = (page.picture.shape[0], page.picture.shape[1])
        raw = np.round(reference.probability(page.picture) * 255).astype(np.uint8)
        costs.append(_boxes(raw, size, reference))
        lines = np.round(_lines(page.picture, reference, _real(raw), size) * 255).astype(np.uint8)
        if len(lines):
            costs.append(_texts(lines, reference, alphabet))
    return costs


def _boxes(raw: UInt8, size: tuple[int, int], reference: RapidOcrReader) -> Cost:
    tensor, real = Tensor(raw[:, :, None], 1 / 255), _real(raw)
    ours, theirs = _turns(
        lambda: find_boxes(tensor, size, 0.5),
        lambda: reference.steps.boxes(real, size, 0.5),
    )
    return Cost("boxes (DB)", ours, theirs)


def _texts(raw: UInt8, reference: RapidOcrReader, alphabet: Alphabet) -> Cost:
    tensors, real = [Tensor(line, 1 / 255) for line in raw], _real(raw)
    ours, theirs = _turns(
        lambda: [decode(read_glyphs(tensor, 8), alphabet) for tensor in tensors],
        lambda: reference.texts(real),
    )
    return Cost("text (CTC)", ours, theirs)


def _real(raw: UInt8) -> Float32:
    return np.asarray(raw.astype(np.float32) / np.float32(255), np.float32)


def _lines(picture: UInt8, reference: RapidOcrReader, probability: Float32, size: tuple[int, int]) -> Float32:
    """N x 40 x classes: lines of the page squeezed to the recogniser's fixed width."""
    boxes, _ = reference.steps.boxes(probability, size, 0.5)
    bgr = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), np.uint8)
    crops = [cv2.resize(reference.steps.crop(bgr, box), (320, 48)) for box in boxes[:LINES]]
    frames = [np.asarray((crop.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1), np.float32) for crop in crops]
    outputs = [reference.recognise(np.stack(frames[n : n + BATCH])) for n in range(0, len(frames), BATCH)]
    return np.concatenate(outputs) if outputs else np.empty((0, 40, 2), np.float32)


def _turns(ours: Callable[[], Any], theirs: Callable[[], Any]) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for side, run in zip(times, (ours, theirs), strict=True):
            started = time.thread_time()
            run()
            side.append(time.thread_time() - started)
    return min(times[0]), min(times[1])
