"""What the plan of bursts is worth, on virtual time, against every size that never changes."""

import importlib
import math
import re
from dataclasses import replace

import burst_bench
import pytest
from burst_bench import Load, ceiling, cell, grid, measure, query_beside
from project import PROJECT

LEAST_OF = {"pages": 0.8}
"""Two clients whose pages are prepared in no time are best kept in step, which a fixed size does that holds both."""


@pytest.mark.slow
def test_the_grid() -> None:
    """1 to 32 clients, every backend, 0 to 10 faces a photo, pages of text, both links, prepared in 5 to 80 ms."""
    cells = [cell(load) for load in grid()]
    assert len(cells) == 288
    short = {str(each.load): round(each.ratio, 3) for each in cells if each.ratio < LEAST_OF.get(each.load.task, 0.9)}
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
        Load("pages", 8, 0.02, "slow", 3),
    ):
        for size in (2, 8):
            ratio = measure(load, burst_bench.fixed, size, 10)[0] / ceiling(load, size)
            assert 0.3 < ratio < burst_bench.NOISE, load


def test_after_a_night_without_work_bursts_are_full_at_once() -> None:
    """With every burst a single page it is 8 a second."""
    rate, card = burst_bench.measure(Load("pages", 8, 0.04, "slow", 3), burst_bench.planned, rounds=6)
    assert rate >= 10, card.bursts


@pytest.mark.slow
def test_what_a_second_card_brings_is_as_the_page_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each row of docs/several-hosts.md, give or take a quarter: it depends on how bursts are planned."""
    monkeypatch.syspath_prepend(PROJECT / "scripts")
    monkeypatch.setattr("sys.argv", ["bench_cards.py"])
    importlib.import_module("bench_cards").main()
    measured = rows(capsys.readouterr().out)
    told = rows((PROJECT / "docs/several-hosts.md").read_text("utf-8").partition("## What a second card brings")[2])
    assert len(measured) == 15
    assert {key: told[key] for key in measured} == {
        key: pytest.approx(each, rel=0.25) for key, each in measured.items()
    }


def rows(table: str) -> dict[tuple[str, str], list[float]]:
    """Task and clients -> all numbers of their row."""
    found = re.findall(r"^\| ([^|]+) \| (\d+) \| (.+) \|$", table, re.MULTILINE)
    return {(task, clients): [float(n) for n in re.findall(r"\d+(?:\.\d+)?", words)] for task, clients, words in found}


def test_a_second_card_of_one_host_takes_bursts_of_its_own() -> None:
    load = Load("siglip", 32, 0.005, "slow")
    one, _ = burst_bench.measure(load, burst_bench.planned)
    two, card = burst_bench.measure(replace(load, cards=2), lambda: burst_bench.planned(2))
    assert 1.5 * one < two < 2 * one
    assert len(card.free_at) == 2
