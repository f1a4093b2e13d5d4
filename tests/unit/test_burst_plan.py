"""The arithmetic of the plan of bursts. What it is worth: `sim/test_burst_worth.py`."""

import math

import pytest

from ml_target.scheduling.pace import Pace
from ml_target.scheduling.plan import LEAST, Outlook, worthwhile


def outlook(**known: float) -> Outlook:
    usual = {"waiting": 4, "flying": 0, "coming": 4.0, "round": 8.0, "most": 32, "gap": 0.002, "pace": 0.002}
    usual |= {"overhead": 0.05, "per_frame": 0.003, "busy": 1.0}
    return Outlook(**usual | known)  # type: ignore[arg-type]


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
