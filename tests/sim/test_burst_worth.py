"""What the plan of bursts is worth, on virtual time, against every size that never changes."""

import math

import burst_bench
import pytest
from burst_bench import Load, ceiling, cell, grid, measure, query_beside


@pytest.mark.slow
def test_the_grid() -> None:
    """1 to 32 clients, every backend, 0 to 10 faces a photo, both links, prepared in 5 to 80 ms."""
    cells = [cell(load) for load in grid()]
    assert len(cells) == 252
    short = {str(each.load): round(each.ratio, 3) for each in cells if each.ratio < 0.9}
    assert not short
    assert sum(math.log(each.ratio) for each in cells) > 0, "on the whole it is better than the best of them"


@pytest.mark.parametrize("link", ["slow", pytest.param("fast", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("task", "faces"),
    [("tinyclip", 0), ("siglip", 0), ("siglip2", 0), pytest.param("faces", 3, marks=pytest.mark.slow)],
)
def test_a_query_waits_for_no_more_than_the_burst_that_runs(task: str, faces: int, link: str) -> None:
    for clients in (8, 32):
        took, allowed = query_beside(Load(task, clients, 0.005, link, faces))
        assert took <= allowed, clients


def test_what_it_is_compared_with_takes_its_size() -> None:
    rate, card = burst_bench.measure(Load("tinyclip", 16, 0.005, "slow"), burst_bench.fixed, 4)
    assert {frames for _, frames, _ in card.bursts[4:-4]} == {4}
    assert rate == pytest.approx(4 / (0.05 + 4 * 0.00296), rel=0.05), "the card does nothing else"


def test_no_size_passes_its_ceiling() -> None:
    """So those that are left out of the grid could not have been the best."""
    for load in (
        Load("tinyclip", 32, 0.005, "slow"),
        Load("siglip", 2, 0.02, "fast"),
        Load("faces", 4, 0.08, "slow", 3),
    ):
        for size in (2, 8):
            ratio = measure(load, burst_bench.fixed, size, 10)[0] / ceiling(load, size)
            assert 0.3 < ratio < burst_bench.NOISE, load
