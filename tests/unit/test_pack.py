"""Pieces of lines share frames: none is lost, cut or mixed up, and each gets what was read of it."""

from dataclasses import dataclass

import numpy as np
import pytest
from fake_text import Fake, one_letter

from ml_target.catalogue.networks import OCR_RECOGNITION
from ml_target.engines import Intake
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.tasks.ocr.crop import PADDING
from ml_target.tasks.ocr.ctc import Glyphs
from ml_target.tasks.ocr.frames import CHUNK, Frames
from ml_target.tasks.ocr.pack import GAP, Packed, Piece, pack
from ml_target.tasks.ocr.windows import Window

RANDOM = np.random.default_rng(8)
SPACE = 99


def piece(line: int, width: int, start: int = 0) -> Piece:
    return Piece(line, Window(start, start + width), np.full((48, width, 3), line, np.uint8))


def glyphs(columns: list[float], classes: list[int]) -> Glyphs:
    return Glyphs(np.array(classes, np.intp), np.full(len(classes), 0.9, np.float32), np.array(columns, np.float32))


def test_every_piece_is_in_one_frame_with_padding_between() -> None:
    pieces = [piece(n, int(width)) for n, width in enumerate(RANDOM.integers(1, 321, 100))]
    frames = pack(pieces, 320)
    assert sorted(p.line for packed in frames for p in packed.pieces) == list(range(100))
    for packed in frames:
        picture = packed.frame()
        assert picture.shape == (48, 320, 3)
        free = np.ones(320, bool)
        ends = [0]
        for one, left in zip(packed.pieces, packed.lefts, strict=True):
            assert (picture[:, left : left + one.width] == one.line).all()
            assert left == 0 or left - ends[-1] >= GAP
            free[left : left + one.width] = False
            ends.append(left + one.width)
        assert (picture[:, free] == PADDING).all()


def test_few_frames_the_fullest_first() -> None:
    frames = pack([piece(n, width) for n, width in enumerate((40, 90, 220, 110, 30, 320))], 320)
    widths = [[p.width for p in packed.pieces] for packed in frames]
    assert widths == [[320], [220, 30], [110, 90], [40]]


def test_pieces_stand_as_far_apart_as_there_is_room() -> None:
    [packed] = pack([piece(0, 60), piece(1, 60)], 320)
    assert packed.lefts == (0, 160)


def test_a_piece_alone_stands_as_it_always_did() -> None:
    [packed] = pack([piece(3, 200, start=500)], 320)
    assert packed == Packed.alone(packed.pieces[0], 320)
    read = glyphs([4, 196, 260], [1, SPACE, 2])
    [(line, part)] = packed.parts(read, SPACE)
    assert (line, part.start, part.stop) == (3, 500, 700)
    assert part.glyphs.columns.tolist() == [504, 696, 760]


def test_each_piece_gets_the_letters_that_are_nearest_to_it() -> None:
    """They may fire a little beside their piece; a space in the padding is nobody's."""
    [packed] = pack([piece(7, 100, start=1000), piece(5, 60)], 320)
    left = packed.lefts[1]
    middle = (100 + left) / 2
    columns = [10.0, 50.0, 104.0, middle, left - 4.0, left + 20.0, left + 64.0]
    parts = dict(packed.parts(glyphs(columns, [1, SPACE, 2, SPACE, 3, SPACE, 4]), SPACE))
    assert parts[7].glyphs.classes.tolist() == [1, SPACE, 2]
    assert parts[7].glyphs.columns.tolist() == [1010, 1050, 1104]
    assert parts[5].glyphs.classes.tolist() == [3, SPACE, 4]
    assert parts[5].glyphs.columns.tolist() == [-4, 20, 64]


@dataclass
class Recognizer:
    """Frames of a made-up network with bursts of `burst`."""

    fixed: int
    burst: int = 8

    def frames(self) -> Frames:
        fake = Fake(one_letter, Intake((48, self.fixed or None, 3), "uint8"), max_batch=self.burst)
        queue = Arbiter(1).queue(fake, "reads")
        return Frames(Model(OCR_RECOGNITION, queue, Provenance("fake", "", "fake")), self.fixed, 320)


@pytest.mark.parametrize("burst", [1, 8, 32])
def test_only_whole_bursts_leave_before_the_last(burst: int) -> None:
    frames = Recognizer(320, burst).frames()
    pieces = [piece(n, 300) for n in range(2 * burst + 5)]
    chunks, waiting = frames.chunks(pieces, last=False)
    assert {len(chunk) for chunk in chunks} == {burst}
    assert len(waiting) == (2 * burst + 5) % burst
    chunks, nothing = frames.chunks(waiting, last=True)
    assert (sum(map(len, chunks)), nothing) == (len(waiting), [])
    assert frames.at_a_time >= 2


def test_short_lines_come_last_and_fill_frames() -> None:
    frames = Recognizer(320).frames()
    groups = list(frames.groups([60] * 60 + [900] * 8))
    assert [width for group in groups for _, width in group] == [900] * 8 + [60] * 60
    assert all(sum(width for _, width in group) <= CHUNK for group in groups)
    assert frames.count(groups[-1]) < len(groups[-1])


def test_free_widths_are_sent_as_they_come() -> None:
    frames = Recognizer(0).frames()
    groups = list(frames.groups([900] * 8 + [60] * 60))
    assert [width for group in groups for _, width in group] == [60] * 60 + [900] * 8
    chunks, waiting = frames.chunks([piece(n, 400) for n in range(30)], last=False)
    assert [packed.width for chunk in chunks for packed in chunk] == [448] * 22
    assert [p.line for p in waiting] == list(range(22, 30))
    assert frames.at_a_time == 1
