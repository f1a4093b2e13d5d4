"""Text at the fixed sizes of a card reads as well as the official worker reads it at free sizes: every kind of page.

`scripts/bench accuracy` prints the same figures, all sizes, more pages, device times and budgets; docs/accuracy.md
has its table.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache, reduce
from pathlib import Path

import parity_table as parity
import pytest
from rapidocr_reference import RapidOcrReader
from reading_sides import Official, OnCard, card_sides, score
from text_pages import Page, kinds, pages_of, print_page
from text_score import Score

LEFT_OUT = {"portrait 22 px", "portrait 28 px", "landscape 18 px", "wide 16 px", "wide 24 px", "long 20 px"}
LEFT_OUT |= {"phone 18 px", "phone 22 px", "phone 30 px"}
"""Sizes of print that say no more than those that stay: the smallest, which decides about tiles, and a larger one where
the smallest alone is too few lines. Larger print is on pages of other kinds."""
NOISE = {"small picture": 0.03, "Chinese": 0.03, "rows of tokens": 0.05}
"""Kinds of few or hardly legible letters, or of spaces that the network is not sure of: one line changes them by some
of a hundred. All others may have at most one letter of a hundred more wrong than the official way."""


@pytest.fixture(scope="module")
def readers(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, OnCard]]:
    """This worker's way, by budget of tiles."""
    with card_sides(tmp_path_factory.mktemp("card"), wheel_models, [1, 2, 16]) as readers:
        yield readers


Sides = Callable[[str], tuple[Score, Score]]


@pytest.fixture(scope="module")
def sides(readers: dict[int, OnCard], wheel_models: Path) -> Sides:
    """The official way's score and ours on a kind of page, which is read once."""
    official = Official(RapidOcrReader(wheel_models))

    @cache
    def scores(kind: str) -> tuple[Score, Score]:
        corpus = [page for page in pages_of(kind) if page.name not in LEFT_OUT]
        if kind == "dense page":
            corpus = [upper_third(page) for page in corpus]
        return score(official, corpus)[kind], score(readers[16], corpus)[kind]

    return scores


def upper_third(page: Page) -> Page:
    """The page with nothing on its lower two thirds: as dense, and a third of the lines to read."""
    end = page.picture.shape[0] // 3
    kept = tuple(line for line in page.lines if line.corners[:, 1].max() < end)
    picture = page.picture.copy()
    picture[int(max(line.corners[:, 1].max() for line in kept)) + 8 :] = picture[:8].mean()
    return replace(page, picture=picture, lines=kept)


def total(scores: Iterable[Score]) -> Score:
    return reduce(Score.sum, scores)


@pytest.mark.parametrize("kind", kinds())
def test_each_kind_of_page(sides: Sides, kind: str) -> None:
    theirs, ours = sides(kind)
    if kind == "long lines":
        assert ours.error_rate <= theirs.error_rate + 0.02
        assert ours.error_rate_without_spaces <= theirs.error_rate_without_spaces + 0.01
    else:
        assert ours.error_rate <= theirs.error_rate + NOISE.get(kind, 0.01)
    assert ours.found >= min(0.98 * theirs.found, theirs.found - 1)


def test_letters_that_stand_apart_are_read(sides: Sides) -> None:
    """The official way loses half of such lines, so its figures are no bar."""
    _, score = sides("letter-spaced")
    assert score.found == score.lines
    assert score.error_rate_without_spaces <= 0.06


def test_rows_of_tokens(sides: Sides) -> None:
    """No letter more is wrong than at free widths; of the spaces between them the network is not sure either way."""
    theirs, ours = sides("rows of tokens")
    assert ours.error_rate_without_spaces <= theirs.error_rate_without_spaces + 0.01
    assert ours.spaces_f1 >= theirs.spaces_f1 - 0.15


def test_two_tiles_would_lose_the_smallest_print_of_long_screens(sides: Sides, readers: dict[int, OnCard]) -> None:
    """What the default budget of 16 is for: 14 px on a phone's screen takes four tiles."""
    screen = print_page(1440, 3200, 14, 5, rows=12, paper=(255, 255, 255)).done(
        "phone 14 px", "tall screenshot", noise=0
    )
    assert score(readers[2], [screen])["tall screenshot"].recall < 0.5
    assert sides("tall screenshot")[1].recall > 0.85, "of which one page in two is 14 px"


def test_one_tile_would_lose_small_print(sides: Sides, readers: dict[int, OnCard]) -> None:
    """The pages are hard enough to tell: squeezed into one frame, most of the smallest print is lost."""
    small = [next(pages_of("portrait page"))]
    assert score(readers[1], small)["portrait page"].recall < 0.7
    assert sides("portrait page")[1].recall > 0.95, "of which one page in two is this one"


def test_over_all_pages(sides: Sides) -> None:
    theirs, ours = (total(one) for one in zip(*map(sides, kinds()), strict=True))
    subject = f"OCR at fixed sizes, {ours.lines} drawn lines"
    parity.record(subject, "lines found, official", f"{ours.found}, {theirs.found}", "≥ 0.98 of official")
    parity.record(
        subject,
        "wrong letters, official",
        f"{100 * ours.error_rate:.2f} %, {100 * theirs.error_rate:.2f} %",
        "≤ official + 1",
    )
    parity.record(subject, "readings that are no line", str(ours.astray), f"≤ official's {theirs.astray} + 1 %")
    parity.record(
        subject, "box error, line heights, official", f"{ours.box_error:.2f}, {theirs.box_error:.2f}", "≤ + 0.05"
    )
    assert ours.found >= 0.98 * theirs.found
    assert ours.error_rate <= theirs.error_rate + 0.01
    assert ours.precision >= theirs.precision - 0.01
    assert ours.spaces_f1 >= theirs.spaces_f1 - 0.03
    assert ours.pieces_a_line <= theirs.pieces_a_line + 0.01, "no line is cut in two"
    assert ours.box_error <= theirs.box_error + 0.05
