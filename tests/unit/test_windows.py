"""Long lines: windows that cover every column and end between letters; letters in the overlap are read once."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw
from text_pages import latin

from ml_target.tasks.ocr.ctc import Alphabet, Glyphs, decode
from ml_target.tasks.ocr.stitch import Part, join
from ml_target.tasks.ocr.windows import BLUR, BORDER_RANGE, OVERLAP, Window, _ink, windows
from ml_target.tensors import UInt8

RANDOM = np.random.default_rng(59)
LETTERS = Alphabet(("", *"abcdefghijklmnopqrstuvwxyz", " "))
SPACE = len(LETTERS) - 1


def noise(width: int) -> UInt8:
    return RANDOM.integers(0, 256, (48, width, 3), dtype=np.uint8)


def written(text: str) -> tuple[UInt8, list[Window]]:
    """The line 48 high, black on white, and the columns of every letter but its soft edges."""
    font = latin(False, 40)
    image = Image.new("RGB", (int(font.getlength(text)) + 20, 48), "white")
    ImageDraw.Draw(image).text((10, 0), text, "black", font)
    letters = []
    for place, letter in enumerate(text):
        if letter != " ":
            left, _, right, _ = font.getbbox(letter)
            begin = 10 + font.getlength(text[:place])
            letters.append(Window(round(begin + left) + 1, round(begin + right) - 1))
    return np.array(image), letters


# ------------------------------------------------------------------ windows


@pytest.mark.parametrize("widest", [320, 2560])
def test_windows_cover_every_column(widest: int) -> None:
    for width in {1, 47, widest - 1, widest, widest + 1, *RANDOM.integers(widest, 9_000, 25).tolist()}:
        found = windows(noise(width), widest)
        assert found[0].start == 0
        assert found[-1].stop == width
        assert all(0 < w.stop - w.start <= widest for w in found)
        for a, b in pairwise(found):
            assert a.start < b.start < a.stop < b.stop
            assert OVERLAP <= a.stop - b.start < OVERLAP + BORDER_RANGE
            assert b.stop - a.start > widest - BORDER_RANGE
        if width <= widest:
            assert found == [(0, width)]


def test_so_many_windows() -> None:
    """At most one for each 320 - 48 - 2 x 48 columns, however the ink lies."""
    for width in (400, 640, 960, 1500, 9000):
        assert len(windows(noise(width), 320)) <= 1 + -(-(width - 320) // (320 - OVERLAP - 2 * BORDER_RANGE))
    assert len(windows(np.full((48, 1500, 3), 255, np.uint8), 320)) == 6


def test_no_letter_is_cut() -> None:
    text = "Kettle and lantern, 1,284.50 EUR before the morning train over seventeen bridges in the north"
    line, letters = written(text)
    found = windows(line, 320)
    assert len(found) > 3
    borders = [w.start for w in found[1:]] + [w.stop for w in found[:-1]]
    cut = [(border, letter) for border in borders for letter in letters if letter.start < border < letter.stop]
    assert not cut
    for letter in letters:
        assert any(w.start <= letter.start and letter.stop <= w.stop for w in found)


def test_a_gap_between_words_is_preferred() -> None:
    line, letters = written("lamp ant sea by an oak in no bay at all is on the sea")
    gaps = [(a.stop, b.start) for a, b in pairwise(letters) if b.start - a.stop > 6]
    found = windows(line, 320)
    assert all(any(low <= w.stop <= high for low, high in gaps) for w in found[:-1])


def test_a_border_lies_in_the_middle_of_the_wide_gap_though_a_narrow_one_comes_later() -> None:
    """Both are empty: the wide one stands between words, the narrow one between letters of a wide spacing."""
    line = np.full((48, 500, 3), 255, np.uint8)
    line[12:36] = 0
    for low, high in ((200, 216), (226, 232), (280, 296), (306, 312)):
        line[:, low:high] = 255
    first, second = windows(line, 320)
    assert first.stop == pytest.approx(288, abs=1)
    assert second.start == pytest.approx(208, abs=1)


# --------------------------------------------------------------------- join


def glyphs(text: str, columns: list[float], sure: float | list[float] = 0.9) -> Glyphs:
    probabilities = np.full(len(text), sure) if isinstance(sure, float) else np.array(sure)
    classes = np.array([LETTERS.symbols.index(letter) for letter in text], np.intp)
    return Glyphs(classes, probabilities.astype(np.float32), np.array(columns, np.float32))


def joined(*parts: Part) -> str:
    return decode(join(parts, SPACE), LETTERS)[0]


def test_windows_of_a_line_join_to_the_line() -> None:
    """Whatever the letters, each stands once: positions are off by up to a step, borders by nothing."""
    for length in (12, 40, 200):
        text = "".join(RANDOM.choice([*"abcdefghij", *"   "], length))
        text = " ".join(text.split()) or "a"
        columns = 12.0 + 20 * np.arange(len(text))
        spans = [(start, start + 320) for start in range(0, max(1, int(columns[-1]) - 100), 220)]
        parts = []
        for start, stop in spans:
            seen = (columns >= start + 8) & (columns < stop - 8)
            part = glyphs("".join(np.array([*text])[seen]), list(columns[seen] + RANDOM.uniform(-6, 6, seen.sum())))
            parts.append(Part(part, start, stop))
        assert joined(*parts) == text[: int((columns < spans[-1][1] - 8).sum())]


def test_a_letter_in_the_overlap_is_read_once() -> None:
    left = Part(glyphs("abcd", [10, 50, 90, 130]), 0, 150)
    right = Part(glyphs("cdef", [94, 126, 170, 210]), 80, 220)
    assert joined(left, right) == "abcdef"


def test_equal_letters_that_stand_apart_stay_two() -> None:
    assert joined(Part(glyphs("ab", [10, 50]), 0, 80), Part(glyphs("bc", [100, 140]), 40, 150)) == "abbc"


@pytest.mark.parametrize(("apart", "text"), [(12, "abc"), (16, "abbc")])
def test_one_letter_fires_at_most_a_step_and_a_half_apart(apart: int, text: str) -> None:
    """On either side of the middle of the overlap, so that a cut there would keep both."""
    left = Part(glyphs("ab", [20, 80 - apart / 2]), 0, 120)
    right = Part(glyphs("bc", [80 + apart / 2, 140]), 40, 160)
    assert joined(left, right) == text


def test_of_a_double_letter_the_first_does_not_meet_the_second() -> None:
    assert joined(Part(glyphs("ill", [80, 100, 116]), 0, 140), Part(glyphs("llc", [104, 120, 150]), 80, 220)) == "illc"
    left = Part(glyphs("all", [80, 104, 120], [0.9, 0.99, 0.7]), 0, 140)
    right = Part(glyphs("allc", [80, 100, 116, 150], [0.9, 0.7, 0.99, 0.9]), 70, 220)
    assert joined(left, right) == "allc"


@pytest.mark.parametrize(("ours", "theirs"), [(79, 81), (81, 79), (80, 80)])
def test_what_stands_in_the_middle_is_neither_doubled_nor_lost(ours: float, theirs: float) -> None:
    """One letter that both windows read differently, in the middle of an overlap where they agree on nothing."""
    left, right = Part(glyphs("abq", [10, 40, ours]), 0, 110), Part(glyphs("ocd", [theirs, 130, 150]), 50, 160)
    assert joined(left, right) in ("abqcd", "abocd")
    left, right = Part(glyphs("ab ", [10, 40, ours]), 0, 110), Part(glyphs(" cd", [theirs, 130, 150]), 50, 160)
    assert joined(left, right) == "ab cd"


def test_a_space_is_taken_from_the_window_that_saw_both_sides() -> None:
    """The left window ends in the gap behind `dog`, the right one begins in the gap before it."""
    left = Part(glyphs("a dog", [10, 30, 60, 80, 100]), 0, 120)
    right = Part(glyphs("dog b", [60, 80, 100, 120, 140]), 40, 150)
    assert joined(left, right) == "a dog b"


def test_the_window_that_is_farther_from_its_border_decides() -> None:
    left = Part(glyphs("abcdx", [10, 60, 80, 100, 118]), 0, 120)
    right = Part(glyphs("ybcde", [42, 60, 80, 100, 118]), 40, 160)
    assert joined(left, right) == "abcde"


def test_they_meet_in_the_middle_though_a_letter_at_the_border_looks_surer() -> None:
    """`x` is what a window makes of a letter near its border, `w` what the other one sees there."""
    left = Part(glyphs("amxe", [10, 80, 100, 118], [0.9, 0.8, 0.9, 0.99]), 0, 120)
    right = Part(glyphs("mwef", [80, 100, 118, 150], [0.8, 0.9, 0.99, 0.9]), 40, 160)
    assert joined(left, right) == "amwef"
    left = Part(glyphs("aewm", [10, 42, 60, 80], [0.9, 0.99, 0.9, 0.8]), 0, 120)
    right = Part(glyphs("exmf", [42, 60, 80, 150], [0.99, 0.9, 0.8, 0.9]), 40, 160)
    assert joined(left, right) == "aewmf"


def test_a_letter_at_the_very_border_is_met_where_there_is_no_other() -> None:
    """Cut in the middle, the line would keep what the right window made of its half of a letter."""
    left, right = Part(glyphs("abe", [10, 90, 120]), 0, 120), Part(glyphs("oef", [92, 120, 150]), 40, 160)
    assert joined(left, right) == "abef"


def test_spaces_are_nothing_to_meet_at() -> None:
    """Two gaps are as near as one seen twice, with a narrow letter between: each window sees one of them only."""
    left = Part(glyphs("x i", [20, 74, 80], [0.9, 0.99, 0.8]), 0, 120)
    right = Part(glyphs("i y", [80, 86, 140], [0.8, 0.99, 0.9]), 40, 160)
    assert joined(left, right) == "x i y"


def test_windows_that_agree_on_nothing_are_cut_in_the_middle() -> None:
    left = Part(glyphs("abc", [10, 50, 110]), 0, 120)
    right = Part(glyphs("xyz", [50, 90, 130]), 40, 160)
    assert joined(left, right) == "abyz"
    assert joined(Part(glyphs("", []), 0, 120), right) == "yz"
    assert joined(left, Part(glyphs("", []), 40, 160)) == "ab"


def test_the_score_is_the_mean_over_the_letters_that_stay() -> None:
    left = Part(glyphs("ab", [10, 80], [1.0, 0.8]), 0, 120)
    right = Part(glyphs("bc", [80, 130], [0.4, 0.6]), 40, 160)
    assert decode(join([left, right], SPACE), LETTERS)[1] == pytest.approx((1.0 + 0.8 + 0.6) / 3)


def test_ink_is_the_spread_of_the_mean_of_the_channels() -> None:
    """To the bit: where columns are equally empty, a rounding would move a border."""
    line = np.random.default_rng(3).integers(0, 256, (48, 700, 3), np.uint8)
    spread = line.mean(axis=2, dtype=np.float32).std(axis=0)
    blurred = cv2.GaussianBlur(spread[None], (0, 0), BLUR, borderType=cv2.BORDER_REPLICATE)[0]
    assert np.array_equal(_ink(line), blurred)
