"""Made-up networks that find and read text, and pages for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ml_target.catalogue.networks import CLASS_SCORES, OCR_CLASSES, OCR_DETECTION, OCR_RECOGNITION, PROBABILITY
from ml_target.engines import Intake
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.reader import TextReader
from ml_target.tensors import Array, Outputs, Tensor, UInt8

LETTERS = Alphabet(("", *(chr(0x4E00 + n) for n in range(OCR_CLASSES - 2)), " "))


@dataclass
class Fake:
    """A network that answers what `answer` makes of each frame."""

    answer: Callable[[Array], Outputs]
    intake: Intake = field(default_factory=lambda: Intake((None, None, 3), "uint8"))
    max_batch: int = 8
    roles: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    frames: list[tuple[int, ...]] = field(default_factory=list)

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        self.frames += [frame.shape for frame in frames]
        return [self.answer(frame) for frame in frames]

    def close(self) -> None: ...


def fake_reader(
    threads: tuple[ThreadPool, Arbiter], detector: Fake, recognizer: Fake, alphabet: Alphabet = LETTERS
) -> TextReader:
    host, pool = threads
    made = [
        Model(network, pool.queue(fake, network.name), Provenance("fake", "", "fake"))
        for network, fake in ((OCR_DETECTION, detector), (OCR_RECOGNITION, recognizer))
    ]
    return TextReader(made[0], made[1], alphabet, host, 1000, 16)


def dark_is_text(frame: Array) -> Outputs:
    return {PROBABILITY: Tensor((frame[:, :, :1] < 128).astype(np.float32))}


def one_letter(frame: Array) -> Outputs:
    """The step in the middle says class 7; everything else is blank. Full size, as a real network's."""
    values = np.zeros((frame.shape[1] // 8, OCR_CLASSES), np.float32)
    values[:, 0] = 1
    values[len(values) // 2, [0, 7]] = 0, 1
    return {CLASS_SCORES: Tensor(values)}


def bars(count: int, width: int) -> UInt8:
    """A page of so many dark bars, two a row."""
    picture = np.full((30 * count // 2 + 20, 2 * width + 60, 3), 255, np.uint8)
    for n in range(count):
        y, x = 20 + 30 * (n // 2), 20 + (n % 2) * (width + 20)
        picture[y : y + 10, x : x + width] = 0
    return picture
