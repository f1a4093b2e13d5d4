"""Reads lines of text: cut out upright, read in frames that the recogniser takes, joined where they are longer."""

import asyncio
import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ml_target.catalogue.networks import CLASS_SCORES
from ml_target.catalogue.types import PictureInput, StepSequence
from ml_target.errors import ModelError
from ml_target.log.trace import Trace
from ml_target.remedies import WRONG_ENTRY
from ml_target.scheduling.model import Model
from ml_target.scheduling.threads import ThreadPool
from ml_target.tasks.ocr.crop import cut_line, line_width, pad_right
from ml_target.tasks.ocr.ctc import Alphabet, decode, read_glyphs
from ml_target.tasks.ocr.fullwidth import seems_letter_spaced
from ml_target.tasks.ocr.stitch import Part, join
from ml_target.tasks.ocr.windows import Window, windows
from ml_target.tensors import Float32, Outputs, UInt8

WIDEST = 2560  # a free recogniser reads longer lines in windows, too: 24 MB of output each
BUCKET = 64  # free widths are rounded up to a multiple, so that lines share batches; 2 % more to compute
SQUASH = 1.05  # a line up to this many times too wide is squeezed: nothing is lost, and a window is saved
CHUNK = 5120  # columns sent at a time, 16 windows: 47 MB of probabilities as floats
DRAWN_TOGETHER = 0.4  # share of its width, for a line of letters 0.2 to 0.7 em apart; 0.5 loses some of the widest
LESS_SURE = 0.1  # a reading without full-width letters is preferred if its score is at most this much lower


class Piece(NamedTuple):
    """One frame for the recogniser: `window` of line number `line`."""

    line: int
    window: Window
    frame: UInt8


class LineReader:
    """The text recogniser and its alphabet."""

    def __init__(self, recognizer: Model, alphabet: Alphabet, pool: ThreadPool) -> None:
        if not isinstance(recognizer.network.input, PictureInput):
            raise ModelError(f"{recognizer.network.name} does not take pictures, so it cannot read text", WRONG_ENTRY)
        self._recognizer = recognizer
        self._spec = recognizer.network.input
        self._alphabet = alphabet
        self._pool = pool
        self._step = _step(recognizer, len(alphabet))
        self._height = recognizer.intake.shape[0] or self._spec.height
        self._fixed_width = recognizer.intake.shape[1]
        self._widest = self._fixed_width or WIDEST
        self._ahead = 2 if self._fixed_width else 1  # a card's outputs are bytes: two chunks take half of one's floats

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

        While chunks are on the device the next is cut out; memory holds a few chunks of frames, and of outputs as many
        as are sent at a time, however many lines there are.
        """
        parts: list[list[Part]] = [[] for _ in corners]
        waiting: list[Piece] = []
        sent: deque[asyncio.Task[None]] = deque()
        try:
            for group in await self._pool.run(lambda: list(self._groups(corners, share))):
                with trace.stage("ocr.crop"), self._recognizer.coming(len(group)):
                    waiting += await self._pool.run(self._pieces, picture, corners, group)
                *full, waiting = _chunks(waiting)
                if _columns(waiting) + self._frame(1) > CHUNK:  # also full
                    full, waiting = [*full, waiting], []
                for chunk in full:
                    await self._send(chunk, sent, parts, trace)
            if waiting:
                await self._send(waiting, sent, parts, trace)
            while sent:
                await sent.popleft()
        finally:
            for chunk_read in sent:  # nobody waits for them any more: frames that have not been sent are dropped
                chunk_read.cancel()
            await asyncio.gather(*sent, return_exceptions=True)
        return parts

    async def _send(
        self, chunk: Sequence[Piece], sent: "deque[asyncio.Task[None]]", parts: list[list[Part]], trace: Trace
    ) -> None:
        """Begins to read a chunk, once there is room for its outputs."""
        if len(sent) == self._ahead:
            await sent.popleft()
        sent.append(asyncio.create_task(self._recognise(chunk, parts, trace)))

    def _groups(self, corners: Float32, share: float) -> Iterator[list[tuple[int, int]]]:
        """(line, width) by width, so that lines of one frame size share bursts; about a chunk at a time."""
        group: list[tuple[int, int]] = []
        columns = 0
        widths = (math.ceil(line_width(box, self._height) * share) for box in corners)
        for width, line in sorted((width, line) for line, width in enumerate(widths)):
            width = min(width, self._widest) if width <= self._widest * SQUASH else width
            if group and columns + max(width, self._frame(width)) > CHUNK:
                yield group
                group, columns = [], 0
            group.append((line, width))
            columns += max(width, self._frame(width))
        if group:
            yield group

    def _frame(self, width: int) -> int:
        """The columns of the frame for a window of `width` columns."""
        return self._fixed_width or min(WIDEST, max(self._spec.width, math.ceil(width / BUCKET) * BUCKET))

    def _pieces(self, picture: UInt8, corners: Float32, group: Sequence[tuple[int, int]]) -> list[Piece]:
        pieces: list[Piece] = []
        for line, width in group:
            strip = cut_line(picture, corners[line], self._height, width, self._spec.colour)
            for window in windows(strip, self._widest):
                content = strip[:, window.start : window.stop]
                pieces.append(Piece(line, window, pad_right(content, self._frame(content.shape[1]))))
        return pieces

    async def _recognise(self, chunk: Sequence[Piece], parts: list[list[Part]], trace: Trace) -> None:
        with trace.stage("ocr.recognise"):
            outputs = await self._recognizer.infer([piece.frame for piece in chunk])
        with trace.stage("ocr.characters"):
            await self._pool.run(self._keep, chunk, outputs, parts)

    def _keep(self, chunk: Sequence[Piece], outputs: list[Outputs], parts: list[list[Part]]) -> None:
        """Reads each output and drops it, so that its memory is freed at once."""
        outputs.reverse()
        for piece in chunk:
            glyphs = read_glyphs(outputs.pop()[CLASS_SCORES], self._step, piece.window.start)
            parts[piece.line].append(Part(glyphs, *piece.window))

    async def _texts(self, parts: Sequence[Sequence[Part]], trace: Trace) -> list[tuple[str, float]]:
        space = len(self._alphabet) - 1
        with trace.stage("ocr.characters"):
            return await self._pool.run(
                lambda: [decode(join(_in_place(line), space), self._alphabet) for line in parts]
            )


def _in_place(parts: Sequence[Part]) -> list[Part]:
    """From left to right: of two chunks on their way the second may be read first."""
    return sorted(parts, key=lambda part: part.start)


def _worth(reading: tuple[str, float]) -> float:
    text, score = reading
    return score - LESS_SURE * seems_letter_spaced(text)


def _chunks(pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
    """The pieces in order, at most `CHUNK` columns at a time."""
    chunk: list[Piece] = []
    for piece in pieces:
        if chunk and _columns(chunk) + piece.frame.shape[1] > CHUNK:
            yield chunk
            chunk = []
        chunk.append(piece)
    if chunk:
        yield chunk


def _columns(pieces: Sequence[Piece]) -> int:
    return sum(piece.frame.shape[1] for piece in pieces)


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
    raise ModelError(f"{recognizer.network.name} has no output '{CLASS_SCORES}', so it cannot read text", WRONG_ENTRY)
