"""Text in pictures: find the lines, read them, keep what was read well enough."""

from dataclasses import dataclass

import numpy as np

from ml_target.log.trace import Trace
from ml_target.scheduling.model import Model
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.find import LineFinder
from ml_target.tasks.ocr.read import LineReader
from ml_target.tensors import Float32, UInt8

MIN_SIDE = 32  # the official worker skips pictures with a shorter side


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One line of text.

    `corners`: 4 x 2 float32, x / picture width and y / picture height, 0..1: top-left, top-right,
    bottom-right, bottom-left of the line in the picture, whichever way its text runs.
    """

    text: str
    corners: Float32
    box_score: float
    text_score: float


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Immich's options. Boxes score at least `min_box_score`, texts more than `min_text_score`.

    `max_resolution`: the shorter side, in pixels, at which lines are looked for; never enlarged.
    """

    min_box_score: float = 0.5
    max_resolution: int = 736
    min_text_score: float = 0.9


class TextReader:
    """Detector and recogniser together: a picture in, lines of text out.

    `max_lines`: lines read in one picture; `max_tiles`: frames that a detector of one size may take for it.
    """

    def __init__(
        self,
        detector: Model,
        recognizer: Model,
        alphabet: Alphabet,
        pool: ThreadPool,
        max_lines: int,
        max_tiles: int,
    ) -> None:
        self.alphabet = alphabet
        self._recognizer = recognizer
        self._finder = LineFinder(detector, pool, max_lines, max_tiles)
        self._reader = LineReader(recognizer, alphabet, pool)

    async def read(self, picture: UInt8, options: ReadOptions, trace: Trace) -> list[Line]:
        """The lines that can be read, in reading order.

        `picture`: H x W x 3 uint8 RGB. Raises EngineFault when a network gives impossible values.
        """
        if min(picture.shape[:2]) < MIN_SIDE:
            return []
        with self._recognizer.coming(None):
            boxes = await self._finder.find(picture, options.max_resolution, options.min_box_score, trace)
        texts = await self._reader.read(picture, boxes.corners, trace)
        size = np.array(picture.shape[1::-1], np.float32)
        lines = [
            Line(text, corners / size, min(1.0, float(box_score)), min(1.0, text_score))
            for corners, box_score, (text, text_score) in zip(boxes.corners, boxes.scores, texts, strict=True)
            if text.strip() and text_score > options.min_text_score
        ]
        trace.count("lines", len(lines))
        return lines
