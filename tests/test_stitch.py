"""Long lines: windows that cover every column, seams where no letter stands."""

from itertools import pairwise

import numpy as np
import pytest

from ml_target.decoders.ctc import Alphabet, Steps, decode
from ml_target.decoders.stitch import join, windows

RANDOM = np.random.default_rng(59)
LETTERS = Alphabet(("", *"abcdefghijklmnopqrstuvwxyz", " "))


def steps_of(winners: list[int], blanks: list[float]) -> Steps:
    probabilities = np.array([b if w == 0 else 1 - b for w, b in zip(winners, blanks, strict=True)], np.float32)
    return Steps(np.array(winners, np.intp), probabilities, np.array(blanks, np.float32))


def random_line(count: int) -> Steps:
    """Letters that last a step or two, with blanks between, as the network spells them."""
    winners: list[int] = []
    while len(winners) < count:
        winners += [int(RANDOM.integers(1, 27))] * int(RANDOM.integers(1, 3)) + [0] * int(RANDOM.integers(1, 5))
    blanks = [float(RANDOM.uniform(0.9, 1) if w == 0 else RANDOM.uniform(0, 0.2)) for w in winners]
    return steps_of(winners[:count], blanks[:count])


@pytest.mark.parametrize(
    ("width", "count"), [(1, 1), (320, 1), (321, 2), (400, 2), (544, 2), (640, 3), (960, 4), (1200, 5), (1500, 7)]
)
def test_so_many_windows(width: int, count: int) -> None:
    assert len(windows(width, 320, 96, 8)) == count


@pytest.mark.parametrize(("widest", "overlap"), [(320, 96), (320, 64), (2560, 96)])
def test_windows_cover_every_column(widest: int, overlap: int) -> None:
    for width in {*range(1, 2000, 7), *RANDOM.integers(1, 60_000, 200).tolist()}:
        found = windows(width, widest, overlap, 8)
        if width <= widest:
            assert found == [(0, width)]
            continue
        assert found[0].start == 0
        assert found[-1].stop == -(-width // 8) * 8
        for a, b in pairwise(found):
            assert a.width == b.width == widest
            assert b.start % 8 == 0
            assert a.start < b.start
            assert a.stop - b.start >= overlap - 8


@pytest.mark.parametrize("width", [330, 400, 544, 552, 700, 1500, 3000, 9000])
def test_windows_of_a_line_join_to_the_line(width: int) -> None:
    whole = random_line(-(-width // 8))
    cuts = windows(width, 320, 96, 8)
    parts = [whole.part(w.start // 8, w.stop // 8) for w in cuts]
    joined = join(parts, [w.start // 8 for w in cuts])
    assert np.array_equal(joined.winners, whole.winners)
    assert np.array_equal(joined.probabilities, whole.probabilities)


def test_one_window_is_the_line() -> None:
    whole = random_line(40)
    assert np.array_equal(join([whole], [0]).winners, whole.winners)


def test_cut_letters_at_the_rims_do_not_show() -> None:
    for width in (400, 640, 960, 2000):
        whole = random_line(-(-width // 8))
        expected = decode(whole, LETTERS)[0]
        cuts = windows(width, 320, 96, 8)
        parts = []
        for w in cuts:
            part = whole.part(w.start // 8, w.stop // 8)
            winners, blanks = part.winners.copy(), part.blanks.copy()
            # Half a letter is read as another one, and with confidence.
            if w.start > 0:
                winners[:2], blanks[:2] = 26, 0
            if w.stop < cuts[-1].stop:
                winners[-2:], blanks[-2:] = 25, 0
            parts.append(Steps(winners, part.probabilities, blanks))
        assert decode(join(parts, [w.start // 8 for w in cuts]), LETTERS)[0] == expected


def test_the_seam_is_where_both_are_surest_of_a_blank() -> None:
    left = steps_of([1] * 12, [0.1] * 12)
    right = steps_of([2] * 12, [0.1] * 12)
    left.blanks[8], right.blanks[2] = 0.8, 0.8  # step 8 of the line, which overlaps in 6..11
    assert join([left, right], [0, 6]).winners.tolist() == [1] * 8 + [2] * 10


def test_letters_that_moved_by_a_step_are_read_once() -> None:
    # The same letter "c", one step later in the window on the right.
    left = steps_of([1, 0, 0, 2, 0, 0, 3, 0, 0, 0], [0, 1, 1, 0, 1, 1, 0, 1, 1, 1])
    right = steps_of([0, 0, 0, 3, 0, 0, 4, 0], [0.5, 1, 0.9, 0, 1, 0.9, 0, 1])
    assert decode(join([left, right], [0, 4]), LETTERS)[0] == "abcd"
