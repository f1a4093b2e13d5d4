"""Reads lines of text: cut out upright, read in frames that the recogniser takes, joined where they are longer."""

import asyncio
import math
from collections import deque
from collections.abc import Sequence

from ml_target.catalogue.networks import CLASS_SCORES
from ml_target.catalogue.types import PictureInput, StepSequence
from ml_target.errors import ModelError
from ml_target.log.trace import Trace
from ml_target.scheduling.model import Model
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.ocr.crop import cut_line, line_width
from ml_target.tasks.ocr.ctc import Alphabet, decode, read_glyphs
from ml_target.tasks.ocr.frames import Frames, Lines
from ml_target.tasks.ocr.fullwidth import seems_letter_spaced
from ml_target.tasks.ocr.pack import Packed, Piece
from ml_target.tasks.ocr.stitch import Part, join
from ml_target.tasks.ocr.windows import windows
from ml_target.tensors import Float32, Outputs, UInt8

DRAWN_TOGETHER = 0.4  # share of its width, for a line of letters 0.2 to 0.7 em apart; 0.5 loses some of the widest
LESS_SURE = 0.1  # a reading without full-width letters is preferred if its score is at most this much lower


Chunk = tuple[list[Packed], list[UInt8]]
"""Frames that are sent together, and their pictures."""


class LineReader:
    """The text recogniser and its alphabet."""

    def __init__(self, recognizer: Model, alphabet: Alphabet, pool: ThreadPool) -> None:
        if not isinstance(recognizer.network.input, PictureInput):
            raise ModelError(f"{recognizer.network.name} does not take pictures, so it cannot read text.")
        self._recognizer = recognizer
        self._spec = recognizer.network.input
        self._alphabet = alphabet
        self._pool = pool
        self._step = _step(recognizer, len(alphabet))
        self._height = recognizer.intake.shape[0] or self._spec.height
        self._frames = Frames(recognizer, recognizer.intake.shape[1] or 0, self._spec.width)

    async def read(self, picture: UInt8, corners: Float32, trace: Trace) -> list[tuple[str, float]]:
        """Text and score of every line.

        `picture`: H x W x 3 uint8 RGB; `corners`: N x 4 x 2 in its pixels. A line whose letters are so far apart that
        its windows show full-width ones is drawn narrower and read once more.
        """
        parts = await self._parts(picture, corners, 1.0, trace)
        texts = await self._texts(parts, trace)
        spaced = [n for n, (text, _) in enumerate(texts) if len(parts[n]) > 1 and seems_letter_spaced(text)]
        if spaced:
            again = await self._texts(await self._parts(picture, corners[spaced], DRAWN_TOGETHER, trace), trace)
            for line, reading in zip(spaced, again, strict=True):
                texts[line] = max(texts[line], reading, key=_worth)
        return texts

    async def _parts(self, picture: UInt8, corners: Float32, share: float, trace: Trace) -> list[list[Part]]:
        """What the windows of every line show, with the line drawn at `share` of its width.

        While some frames are on the device the next are cut out; memory holds a few chunks of frames and few of
        outputs, however many lines there are.
        """
        parts: list[list[Part]] = [[] for _ in corners]
        waiting: list[Piece] = []
        sent: deque[asyncio.Task[None]] = deque()
        try:
            with self._recognizer.coming():
                groups = await self._pool.run(lambda: list(self._frames.groups(self._widths(corners, share))))
            for number, group in enumerate(groups, 1):
                with trace.stage("ocr.crop"), self._recognizer.coming(self._frames.count(group)):
                    last = number == len(groups)
                    chunks, waiting = await self._pool.run(self._chunks, picture, corners, group, waiting, last)
                for chunk, frames in chunks:
                    await _at_most(self._frames.at_a_time - 1, sent)
                    sent.append(asyncio.create_task(self._recognise(chunk, frames, parts, trace)))
            await _at_most(0, sent)
        finally:
            for task in sent:  # nobody waits for it any more: frames that have not been sent are dropped
                task.cancel()
            await asyncio.gather(*sent, return_exceptions=True)
        return parts

    def _widths(self, corners: Float32, share: float) -> list[int]:
        return [math.ceil(line_width(box, self._height) * share) for box in corners]

    def _chunks(
        self, picture: UInt8, corners: Float32, group: Lines, waiting: list[Piece], last: bool
    ) -> tuple[list[Chunk], list[Piece]]:
        """Frames to send now, and pieces that wait for the next group."""
        pieces = waiting + self._pieces(picture, corners, group)
        chunks, waiting = self._frames.chunks(pieces, last=last)
        return [(chunk, [packed.frame() for packed in chunk]) for chunk in chunks], waiting

    def _pieces(self, picture: UInt8, corners: Float32, group: Lines) -> list[Piece]:
        pieces: list[Piece] = []
        for line, width in group:
            strip = cut_line(picture, corners[line], self._height, width, self._spec.colour)
            found = windows(strip, self._frames.widest, at_words=bool(self._frames.fixed))
            pieces += [Piece(line, window, strip[:, window.start : window.stop]) for window in found]
        return pieces

    async def _recognise(
        self, chunk: Sequence[Packed], frames: list[UInt8], parts: list[list[Part]], trace: Trace
    ) -> None:
        with trace.stage("ocr.recognise"):
            outputs = await self._recognizer.infer(frames)
        with trace.stage("ocr.decode"):
            await self._pool.run(self._keep, chunk, outputs, parts)

    def _keep(self, chunk: Sequence[Packed], outputs: list[Outputs], parts: list[list[Part]]) -> None:
        """Reads each output and drops it, so that its memory is freed at once."""
        outputs.reverse()
        for packed in chunk:
            glyphs = read_glyphs(outputs.pop()[CLASS_SCORES], self._step)
            for line, part in packed.parts(glyphs, len(self._alphabet) - 1):
                parts[line].append(part)

    async def _texts(self, parts: Sequence[Sequence[Part]], trace: Trace) -> list[tuple[str, float]]:
        with trace.stage("ocr.decode"):
            return await self._pool.run(lambda: [self._text(line) for line in parts])

    def _text(self, line: Sequence[Part]) -> tuple[str, float]:
        ordered = sorted(line, key=lambda part: part.start)
        return decode(join(ordered, self._alphabet), self._alphabet)


async def _at_most(number: int, sent: deque[asyncio.Task[None]]) -> None:
    """Waits for the oldest tasks until no more than `number` are left."""
    while len(sent) > number:
        await sent[0]
        sent.popleft()


def _worth(reading: tuple[str, float]) -> float:
    text, score = reading
    return score - LESS_SURE * seems_letter_spaced(text)


def _step(recognizer: Model, classes: int) -> int:
    """The columns of one step. Raises ModelError when the network does not have the alphabet's classes."""
    for output in recognizer.network.forms[0]:
        if isinstance(output, StepSequence) and output.role == CLASS_SCORES:
            if output.classes == classes:
                return output.step
            raise ModelError(
                f"{recognizer.network.name} has {output.classes:,} classes and the dictionary stands for {classes:,}",
                "Replace the dictionary with the catalogue's file.",
            )
    raise ModelError(f"{recognizer.network.name} has no output '{CLASS_SCORES}', so it cannot read text.")
