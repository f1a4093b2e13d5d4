"""What the plan of bursts is worth, on virtual time, against every size that never changes; and its arithmetic."""

import importlib
import math
import re
from dataclasses import replace

import burst_bench
import pytest
from burst_bench import Load, cell, grid, query_beside
from project import PROJECT

from ml_target.scheduling.pace import Pace
from ml_target.scheduling.plan import LEAST, Outlook, worthwhile

LEAST_OF = {"pages": 0.75}
"""Two clients whose pages are prepared in no time are best kept in step, which a fixed size does that holds both."""


def outlook(**known: float) -> Outlook:
    usual = {"waiting": 4, "flying": 0, "coming": 4.0, "round": 8.0, "most": 32, "gap": 0.002, "pace": 0.002}
    usual |= {"overhead": 0.05, "per_frame": 0.003, "busy": 1.0}
    return Outlook(**usual | known)  # type: ignore[arg-type]


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


def test_after_a_night_without_work_bursts_are_full_at_once() -> None:
    """With every burst a single page it is 8 a second."""
    rate, card = burst_bench.measure(Load("pages", 8, 0.04, "slow", 3), burst_bench.planned, rounds=6)
    assert rate >= 10, card.bursts


def test_what_it_is_compared_with_takes_its_size() -> None:
    rate, card = burst_bench.measure(Load("tinyclip", 16, 0.005, "slow"), burst_bench.fixed, 4)
    assert {frames for _, frames, _ in card.bursts[4:-4]} == {4}
    assert rate == pytest.approx(4 / (0.05 + 4 * 0.00296), rel=0.05), "the card does nothing else"


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


# ------------------------------------------------------------------ arithmetic


def test_all_go_together_where_they_are_prepared_in_less_than_an_overhead() -> None:
    assert outlook(gap=0.002).wanted == 8
    assert outlook(gap=0.002).worth_waiting
    assert outlook(gap=0.010).wanted == 4, "80 ms of preparing against 50 of overhead: two groups"
    assert not outlook(gap=0.010).worth_waiting, "there are four already"
    assert outlook(gap=0.010, waiting=1).worth_waiting
    assert not outlook(gap=0.030, waiting=1).worth_waiting, "three more take longer than they save"


def test_nothing_is_waited_for_that_is_not_known_to_come() -> None:
    assert not outlook(coming=0.0).worth_waiting


def test_those_left_over_by_a_full_burst_are_not_waited_for() -> None:
    assert outlook(round=64.0, waiting=10, coming=20.0, most=32, gap=0.001).wanted == 32
    assert outlook(round=64.0, gap=1.0).limit == 32


def test_a_burst_is_cut_only_where_that_is_clearly_better() -> None:
    assert outlook(gap=0.002).limit == 32
    assert outlook(gap=0.007).limit == 32, "in doubt as they come"
    assert outlook(gap=0.020).limit == 4
    assert outlook(gap=0.040, pace=0.080, busy=0.5).limit == 1, (
        "a card with time to spare does not keep the host waiting"
    )


def test_larger_bursts_than_gain_anything_are_not_made() -> None:
    assert worthwhile(0.207, 0.0171) == pytest.approx(96.8, abs=0.1)
    assert worthwhile(0.0215, 0.0272) == LEAST
    assert worthwhile(0.05, 0.0) == math.inf


def test_the_pace_is_learned_while_anything_is_announced() -> None:
    pace = Pace()
    assert (pace.gap, pace.usual) == (0.0, 1.0)
    for n in range(100):
        pace.announced(10.0 * n)
        pace.arrived(3, 10.0 * n + 0.6, more=True)
        pace.arrived(3, 10.0 * n + 1.2, more=False)
    assert pace.gap == pytest.approx(0.2)
    assert pace.usual == pytest.approx(3)


def test_what_waits_for_another_network_is_not_held_against_the_pace() -> None:
    """It cannot run while a burst of this one does."""
    pace = Pace()
    pace.behind = True
    pace.announced(0.0)
    pace.sent(1.0)
    pace.ended(4.0)
    pace.arrived(1, 5.0, more=True)
    assert (pace.gap, pace.whole) == (2.0, 5.0)
    pace.sent(6.0)
    pace.arrived(1, 6.5, more=False)
    assert pace.gap == pytest.approx((2.0 * 0.98 + 1.5) / 1.98), "what arrives meanwhile was not held up"
