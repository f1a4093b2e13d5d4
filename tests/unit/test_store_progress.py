"""What a long transfer shows, on a terminal and in a log."""

import io

import pytest

from ml_target.transfer.progress import Progress

MB = 1_000_000


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The one that tqdm looks at."""
    made = Clock()
    monkeypatch.setattr("tqdm.std.time", made)
    return made


def run(out: io.StringIO, clock: Clock, seconds_per_mb: float, total_mb: int, *, known: bool = True) -> list[str]:
    with Progress(out).transfer("net.hef") as transfer:
        transfer.expect(total_mb * MB if known else None, 0)
        for _ in range(total_mb):
            clock.now += seconds_per_mb
            transfer.advance(MB)
    return out.getvalue().splitlines()


def test_a_line_now_and_then_in_a_log(clock: Clock) -> None:
    lines = run(io.StringIO(), clock, 0.5, 100)
    assert len(lines) == 11, "every 5 seconds, and at the end"
    assert lines[0] == "net.hef: 10.0MB of 100MB, 2.00MB/s, 00:45 left"
    assert lines[-1] == "net.hef: 100MB of 100MB, 2.00MB/s"


def test_a_quick_transfer_is_one_line(clock: Clock) -> None:
    assert run(io.StringIO(), clock, 0.001, 50) == ["net.hef: 50.0MB of 50.0MB, 1.00GB/s"]


def test_one_line_that_changes_on_a_terminal(clock: Clock) -> None:
    out = Terminal()
    run(out, clock, 0.1, 100)
    text = out.getvalue()
    assert text.count("\r") > 30
    assert text.count("\n") == 1
    assert "net.hef: 100MB of 100MB, 10.0MB/s" in text.rpartition("\r")[2]
    out = Terminal()
    assert run(out, clock, 0.001, 50)[-1].strip() == "net.hef: 50.0MB of 50.0MB, 1.00GB/s"
    assert out.getvalue().endswith("\n")


def test_without_a_known_length(clock: Clock) -> None:
    assert run(io.StringIO(), clock, 0.001, 3, known=False) == ["net.hef: 3.00MB, 1.00GB/s"]


def test_a_resumed_transfer_counts_what_was_there_but_not_in_its_speed(clock: Clock) -> None:
    out = io.StringIO()
    with Progress(out).transfer("x") as transfer:
        transfer.expect(100 * MB, 90 * MB)
        clock.now += 10
        transfer.advance(5 * MB)
    assert out.getvalue().splitlines()[0] == "x: 95.0MB of 100MB, 500kB/s, 00:10 left"


def test_a_transfer_that_begins_anew_counts_anew(clock: Clock) -> None:
    out = io.StringIO()
    with Progress(out).transfer("x") as transfer:
        transfer.expect(100 * MB, 0)
        transfer.advance(60 * MB)
        transfer.expect(100 * MB, 60 * MB)  # taken up again where it was cut
        transfer.advance(10 * MB)
        transfer.expect(50 * MB, 0)  # another edition
        clock.now += 10
        transfer.advance(50 * MB)
    assert out.getvalue().splitlines()[-1].startswith("x: 50.0MB of 50.0MB, ")


def test_nothing_moved_nothing_said() -> None:
    for out in (io.StringIO(), Terminal()):
        with Progress(out).transfer("x") as transfer:
            transfer.expect(5, 0)
        assert out.getvalue() == ""


def test_silence() -> None:
    with Progress(None).transfer("x") as transfer:
        transfer.expect(5, 0)
        transfer.advance(5)
    Progress(None).say("x")


def test_a_step_whose_progress_is_not_seen() -> None:
    out = io.StringIO()
    Progress(out).say("pip download x")
    assert out.getvalue() == "pip download x\n"
