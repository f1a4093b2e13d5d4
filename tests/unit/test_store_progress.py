"""What a long transfer shows, on a terminal and in a log."""

import io

import pytest

from ml_target.store.download import Progress

MB = 1_000_000


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(out: io.StringIO, seconds_per_mb: float, total_mb: int, *, known: bool = True) -> list[str]:
    clock = Clock()
    with Progress(out, clock).transfer("net.hef", total_mb * MB if known else None) as transfer:
        for _ in range(total_mb):
            clock.now += seconds_per_mb
            transfer.advance(MB)
    return out.getvalue().splitlines()


def test_a_line_now_and_then_in_a_log() -> None:
    lines = run(io.StringIO(), 0.5, 100)
    assert 8 <= len(lines) <= 12, "every 10 % or 5 seconds, and at the end"
    assert lines[0] == "net.hef: 10.0 of 100.0 MB, 2.0 MB/s, 0:45 left"
    assert lines[-1] == "net.hef: 100.0 of 100.0 MB, 2.0 MB/s"


def test_a_slow_transfer_speaks_every_few_seconds() -> None:
    assert len(run(io.StringIO(), 2.0, 100)) == pytest.approx(100 * 2 / 6, abs=3)


def test_a_quick_transfer_is_one_line() -> None:
    assert run(io.StringIO(), 0.001, 50) == ["net.hef: 50.0 of 50.0 MB, 1000.0 MB/s"]


def test_one_line_that_changes_on_a_terminal() -> None:
    out = Terminal()
    run(out, 0.1, 100)
    text = out.getvalue()
    assert text.count("\r\x1b[K") > 30
    assert text.count("\n") == 1
    assert text.endswith("net.hef: 100.0 of 100.0 MB, 10.0 MB/s\n")


def test_without_a_known_length() -> None:
    assert run(io.StringIO(), 0.001, 3, known=False) == ["net.hef: 3.0 MB, 1000.0 MB/s"]


def test_a_resumed_transfer_counts_what_was_there_but_not_in_its_speed() -> None:
    out, clock = io.StringIO(), Clock()
    with Progress(out, clock).transfer("x") as transfer:
        transfer.expect(100 * MB, 90 * MB)
        clock.now += 10
        transfer.advance(5 * MB)
    assert out.getvalue().splitlines()[0] == "x: 95.0 of 100.0 MB, 0.5 MB/s, 0:10 left"


def test_nothing_moved_nothing_said() -> None:
    out = io.StringIO()
    with Progress(out, Clock()).transfer("x", 5):
        pass
    assert out.getvalue() == ""


def test_silence() -> None:
    with Progress(None).transfer("x", 5) as transfer:
        transfer.advance(5)
    Progress(None).say("x")


def test_a_step_whose_progress_is_not_seen() -> None:
    out = io.StringIO()
    Progress(out).say("pip download x")
    assert out.getvalue() == "pip download x\n"
