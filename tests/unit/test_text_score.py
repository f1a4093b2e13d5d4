"""The yardstick for text: counted by hand on a page of two lines."""

import numpy as np
import pytest
from text_pages import Page, PageLine
from text_score import Reading, Score

from ml_target.tensors import Float32


def box(left: float, top: float, right: float, bottom: float) -> Float32:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)


UPPER, LOWER = PageLine("red kite", box(10, 10, 170, 30)), PageLine("old mill", box(10, 60, 170, 80))
PAGE = Page("two lines", "test", np.zeros((100, 200, 3), np.uint8), (UPPER, LOWER))


def scored(*readings: Reading) -> Score:
    score = Score()
    score.add(PAGE, readings)
    return score


def test_all_right() -> None:
    score = scored(Reading("old mill", LOWER.corners), Reading("red kite", UPPER.corners))
    assert (score.lines, score.found, score.exact, score.wrong, score.astray) == (2, 2, 2, 0, 0)
    assert (score.recall, score.precision, score.error_rate, score.spaces_f1, score.box_error) == (1, 1, 0, 1, 0)
    assert score.pieces_a_line == 1


def test_nothing_found() -> None:
    score = scored()
    assert (score.recall, score.precision, score.error_rate) == (0, 1, 1)
    assert score.error_rate_without_spaces == 1
    assert (score.spaces_f1, score.box_error, score.pieces_a_line) == (1, 0, 1), "of no line at all"


def test_a_lost_space_is_no_lost_letter() -> None:
    score = scored(Reading("redkite", UPPER.corners), Reading("old mill", LOWER.corners))
    assert (score.exact, score.wrong, score.wrong_without_spaces) == (1, 1, 0)
    assert score.error_rate == 1 / 16
    assert score.spaces_f1 == 2 / 3, "one of two, and none too many"


def test_a_space_in_another_place_is_not_kept() -> None:
    score = scored(Reading("redki te", UPPER.corners), Reading("old mill", LOWER.corners))
    assert score.spaces_f1 == 1 / 2, "one lost, one invented"
    assert score.wrong_without_spaces == 0


def test_a_letter_lost_before_a_space_does_not_lose_the_space() -> None:
    assert scored(Reading("rd kite", UPPER.corners), Reading("old mill", LOWER.corners)).spaces_f1 == 1


def test_invented_spaces_count() -> None:
    score = scored(Reading("r ed ki te", UPPER.corners), Reading("old mill", LOWER.corners))
    assert (score.spaces, score.spaces_read, score.spaces_kept) == (2, 4, 2)
    assert score.spaces_f1 == 2 / 3
    moved = Page("one", "test", PAGE.picture, (PageLine("aaaa aa", UPPER.corners),))
    twice = Score()
    twice.add(moved, [Reading("aaa a aa", UPPER.corners)])
    assert (twice.spaces, twice.spaces_read, twice.spaces_kept) == (1, 2, 1), "one space is kept once"


def test_how_wide_a_gap_is_does_not_count() -> None:
    wide = Page("one", "test", PAGE.picture, (PageLine("red   kite", UPPER.corners),))
    score = Score()
    score.add(wide, [Reading("red  kite", UPPER.corners)])
    assert (score.exact, score.wrong, score.spaces_f1) == (1, 0, 1)


def test_pieces_are_read_along_the_line_and_counted() -> None:
    right, left = Reading("kite", box(90, 10, 170, 30)), Reading("red", box(10, 10, 70, 30))
    score = scored(right, left, Reading("old mill", LOWER.corners))
    assert (score.exact, score.wrong, score.astray) == (2, 0, 0)
    assert score.pieces_a_line == 3 / 2
    assert score.box_error == 0


def test_what_lies_on_no_line_is_astray() -> None:
    score = scored(Reading("red kite", UPPER.corners), Reading("ghost", box(20, 85, 60, 99)))
    assert (score.found, score.readings, score.astray) == (1, 2, 1)
    assert score.precision == 1 / 2


def test_what_says_something_else_is_astray_and_its_line_lost() -> None:
    score = scored(Reading("xxxxxxxx", UPPER.corners), Reading("old mill", LOWER.corners))
    assert (score.found, score.astray) == (1, 1)
    assert score.error_rate == 8 / 16


def test_the_box_error_is_in_heights_of_the_line() -> None:
    moved = box(20, 10, 170, 40)  # one end of four is 10 px off, another 10: a quarter of 20 px, in heights of 20
    score = scored(Reading("red kite", moved), Reading("old mill", LOWER.corners))
    assert score.box_errors == [pytest.approx(0.25), 0]


def test_lines_without_places_are_matched_by_their_text() -> None:
    nowhere = np.full((4, 2), np.nan, np.float32)
    page = Page("photo", "photo", PAGE.picture, (PageLine("red kite", nowhere), PageLine("old mill", nowhere)))
    score = Score()
    score.add(page, [Reading("old mi11", UPPER.corners), Reading("noise", LOWER.corners)])
    assert (score.found, score.astray, score.wrong) == (1, 1, 2 + 8)
    assert score.box_errors == []


def test_pages_add_up() -> None:
    whole = scored(Reading("red kite", UPPER.corners)).sum(scored(Reading("old mill", LOWER.corners)))
    assert (whole.lines, whole.found, whole.readings, whole.pieces, len(whole.box_errors)) == (4, 2, 2, 2, 2)
