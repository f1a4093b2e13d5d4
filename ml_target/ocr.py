"""Text in pictures: find the lines, cut them out upright, read them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ml_target.catalogue.networks import CLASSES, PROBABILITY
from ml_target.catalogue.types import PictureInput, StepSequence
from ml_target.decoders.ctc import Alphabet, Steps, decode, read_steps
from ml_target.decoders.dbnet import MAX_CANDIDATES, Boxes, find_boxes
from ml_target.decoders.stitch import Window, join, windows
from ml_target.errors import EngineFault, ModelError
from ml_target.host import HostPool
from ml_target.models import Model
from ml_target.preprocessing.crop import DetectionFrame, cut_line, fixed_frame, free_frame, line_width, pad_right
from ml_target.tensors import Float32, Outputs, Tensor, UInt8
from ml_target.trace import Trace

MIN_SIDE = 32  # the official worker does not look at pictures with a shorter side
WIDEST = 2560  # a free recogniser reads longer lines in windows, too: 24 MB of output each
BUCKET = 64  # free widths are rounded up to it, so that lines share batches; 2 % more to compute
OVERLAP = 96  # of neighbouring windows: 64 to 128 read equally well
SQUASH = 1.05  # a line up to this much too wide is squeezed: nothing is lost, and one window saved
CHUNK = 5120  # columns sent at a time, two batches of eight windows: 47 MB of probabilities as floats


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


class Piece(NamedTuple):
    """One frame for the recogniser: columns `window` of line number `line`, which is `width` wide as a whole."""

    frame: int
    line: int
    window: Window
    width: int


class TextReader:
    """Detector and recogniser together: a picture in, lines of text out."""

    def __init__(self, detector: Model, recognizer: Model, alphabet: Alphabet, host: HostPool, max_lines: int) -> None:
        self._detector = detector
        self._recognizer = recognizer
        self._alphabet = alphabet
        self._host = host
        self._max_lines = max_lines
        self._canvas = _picture_input(detector)
        self._strip = _picture_input(recognizer)
        self._step = _step(recognizer, len(alphabet))
        self._height = recognizer.intake.shape[0] or self._strip.height
        self._fixed_width = recognizer.intake.shape[1]

    async def read(self, picture: UInt8, options: ReadOptions, trace: Trace) -> list[Line]:
        """The lines that can be read, in reading order.

        `picture`: H x W x 3 uint8 RGB. Raises EngineFault when a network gives what no text can be.
        """
        if min(picture.shape[:2]) < MIN_SIDE:
            return []
        with self._recognizer.coming():
            boxes = await self._find(picture, options, trace)
        steps = await self._recognise(picture, boxes.corners, trace)
        with trace.stage("ocr.decode"):
            texts = await self._host.run(lambda: [decode(line, self._alphabet) for line in steps])
        size = np.array(picture.shape[1::-1], np.float32)
        lines = [
            Line(text, corners / size, min(1.0, float(box_score)), min(1.0, text_score))
            for corners, box_score, (text, text_score) in zip(boxes.corners, boxes.scores, texts, strict=True)
            if text.strip() and text_score > options.min_text_score
        ]
        trace.count("lines", len(lines))
        return lines

    # ------------------------------------------------------------------ boxes

    async def _find(self, picture: UInt8, options: ReadOptions, trace: Trace) -> Boxes:
        with trace.stage("ocr.prepare"), self._detector.coming():
            frame = await self._host.run(self._detection_frame, picture, options.max_resolution)
        with trace.stage("ocr.detect"):
            [outputs] = await self._detector.infer([frame.pixels])
        with trace.stage("ocr.boxes"):
            size = (picture.shape[0], picture.shape[1])
            boxes = await self._host.run(self._boxes, outputs, frame.content, size, options.min_box_score)
        trace.count("boxes", len(boxes.scores))
        if frame.bounded:
            trace.warn(
                f"lines were looked for at {frame.content[1]} x {frame.content[0]} pixels to bound memory, smaller "
                "than asked for; small print may be missed: lower the maximum resolution in Immich"
            )
        if boxes.unseen:
            trace.warn(f"{boxes.unseen} patches of the picture that look like text were not looked at")
        if len(boxes.scores) > self._max_lines:
            trace.warn(f"{len(boxes.scores)} lines found, the first {self._max_lines} read; raise MAX_TEXT_LINES")
            boxes = Boxes(boxes.corners[: self._max_lines], boxes.scores[: self._max_lines])
        return boxes

    def _detection_frame(self, picture: UInt8, max_resolution: int) -> DetectionFrame:
        height, width = self._detector.intake.shape[:2]
        if height is None and width is None:
            return free_frame(picture, max_resolution, self._canvas.colour)
        height, width = height or self._canvas.height, width or self._canvas.width
        return fixed_frame(picture, height, width, max_resolution, self._canvas.colour)

    def _boxes(self, outputs: Outputs, content: tuple[int, int], size: tuple[int, int], min_score: float) -> Boxes:
        whole = outputs[PROBABILITY]
        if not np.isfinite(whole.values).all():
            raise _fault(self._detector, "probabilities that are not numbers")
        tensor = Tensor(whole.values[: content[0], : content[1]], whole.scale, whole.zero_point)
        return find_boxes(tensor, size, min_score, max(MAX_CANDIDATES, self._max_lines))

    # ------------------------------------------------------------------- text

    async def _recognise(self, picture: UInt8, corners: Float32, trace: Trace) -> list[Steps]:
        """The steps of every line. Memory holds one chunk of lines and of outputs at a time."""
        pieces = sorted(piece for line, box in enumerate(corners) for piece in self._pieces(line, box))
        read: dict[tuple[int, int], Steps] = {}
        for chunk in _chunks(pieces):
            with trace.stage("ocr.crop"), self._recognizer.coming(len(chunk)):
                frames = await self._host.run(self._frames, picture, corners, chunk)
            with trace.stage("ocr.recognise"):
                outputs = await self._recognizer.infer(frames)
            with trace.stage("ocr.decode"):
                steps = await self._host.run(self._steps, outputs)
            read.update(((p.line, p.window.start), s) for p, s in zip(chunk, steps, strict=True))
        parts: list[list[int]] = [[] for _ in corners]
        for line, start in sorted(read):
            parts[line].append(start)
        return [
            join([read[line, start] for start in starts], [start // self._step for start in starts])
            for line, starts in enumerate(parts)
        ]

    def _pieces(self, line: int, corners: Float32) -> Iterator[Piece]:
        widest = self._fixed_width or WIDEST
        width = line_width(corners, self._height)
        if width <= widest * SQUASH:
            width = min(width, widest)
        for window in windows(width, widest, OVERLAP, self._step):
            frame = self._fixed_width or max(self._strip.width, math.ceil(window.width / BUCKET) * BUCKET)
            yield Piece(frame, line, window, width)

    def _frames(self, picture: UInt8, corners: Float32, pieces: Sequence[Piece]) -> list[UInt8]:
        """The pieces as frames of the recogniser. Pieces of one line follow each other, so it is cut out once."""
        frames: list[UInt8] = []
        drawn = -1
        strip: UInt8 = np.empty((0, 0, 3), np.uint8)
        for frame, line, window, width in pieces:
            if line != drawn:
                drawn, strip = line, cut_line(picture, corners[line], self._height, width, self._strip.colour)
            frames.append(pad_right(strip[:, window.start : window.stop], frame))
        return frames

    def _steps(self, outputs: list[Outputs]) -> list[Steps]:
        """The steps of each output. Empties the list, so that nothing waits with this memory for its last reference."""
        steps: list[Steps] = []
        while outputs:
            steps.append(read_steps(outputs.pop(0)[CLASSES]))
        if not all(np.isfinite(s.probabilities).all() for s in steps):
            raise _fault(self._recognizer, "probabilities that are not numbers")
        return steps


def _chunks(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """The pieces in order, at most `CHUNK` columns at a time, or one that is wider."""
    chunk: list[Piece] = []
    for piece in pieces:
        if chunk and sum(p.frame for p in chunk) + piece.frame > CHUNK:
            yield chunk
            chunk = []
        chunk.append(piece)
    if chunk:
        yield chunk


def _picture_input(model: Model) -> PictureInput:
    if not isinstance(model.network.input, PictureInput):
        raise ModelError(f"{model.network.name} does not take pictures, so it cannot serve text recognition.")
    return model.network.input


def _step(recognizer: Model, classes: int) -> int:
    """The columns of one step. Raises ModelError when the network does not have the alphabet's classes."""
    for output in recognizer.network.forms[0]:
        if isinstance(output, StepSequence) and output.role == CLASSES:
            if output.classes == classes:
                return output.step
            raise ModelError(
                f"{recognizer.network.name} has {output.classes:,} classes and the dictionary stands for {classes:,}. "
                "Replace the dictionary with the catalogue's file."
            )
    raise ModelError(f"{recognizer.network.name} has no output '{CLASSES}', so it cannot read text.")


def _fault(model: Model, what: str) -> EngineFault:
    return EngineFault(f"{model.network.name} gave {what}. Check its file: `python3 -m ml_target models verify`.")
