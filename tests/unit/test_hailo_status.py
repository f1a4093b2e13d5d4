"""HailoRT's status codes: found in every kind of exception, explained with a remedy."""

from pathlib import Path

import pytest

from ml_target.catalogue.files import ZOO_HAILORT
from ml_target.engines.hailo import status as hailo_status
from ml_target.engines.hailo.status import STATUSES, describe, explain, name_of, status_of
from ml_target.remedies import command
from ml_target.system.cards import large_pages


class HailoRTStatusException(Exception):
    """As the binding's raw exception: one argument, the number as text."""


class HailoRTException(Exception):
    pass


class HailoRTStreamAborted(HailoRTException):
    pass


def raised_from(error: Exception, cause: Exception) -> Exception:
    try:
        raise error from cause
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (HailoRTStatusException("76"), 76),
        (HailoRTStatusException("no number"), -1),
        (raised_from(HailoRTException("anything"), HailoRTStatusException("74")), 74),
        (HailoRTException("libhailort failed with error: 71 (HAILO_OUT_OF_FW_MEMORY)"), 71),
        (HailoRTException("HailoRT device not found in the system"), 74),
        (HailoRTStreamAborted("Stream was aborted"), 63),
        (HailoRTException("Buffer must be C_CONTIGUOUS"), -1),
        (ValueError("array is not writeable"), -1),
        (raised_from(HailoRTException("x"), ValueError("y")), -1),
    ],
)
def test_the_status_of_an_exception(error: Exception, status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_words_and_a_remedy(status: int) -> None:
    name, meaning, told = STATUSES[status]
    remedy = told if isinstance(told, str) else told()
    assert explain(status) == f"HailoRT reports {status} HAILO_{name}: {meaning}. {remedy}."
    assert not meaning.endswith(".")
    assert not remedy.endswith(".")
    assert remedy[0].isupper()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (36, ["no permission", "--device=/dev/hailo0", "--group-add", "dmesg"]),
        (63, ["too hot", "cool the card"]),
        (71, ["no memory left", "CLIP_TEXT_ENGINE=cpu"]),
        (73, ["another program holds", "Stop it"]),
        (74, ["another program holds it, or there is none", "hailo_chardev", "fuser"]),
        (76, ["another version than the library", "same release of all"]),
        (47, ["HAILO_BATCH"]),
        (84, ["Lower HAILO_BATCH", "where the log names a max_desc_page_size", "force_desc_page_size=4096"]),
        (91, ["damaged", "models fetch"]),
        (92, ["models fetch", "made for a newer HailoRT", f"driver and HailoRT {ZOO_HAILORT}"]),
        (93, ["another chip", "--chip hailo8"]),
    ],
)
def test_what_people_meet(status: int, words: list[str]) -> None:
    text = explain(status)
    assert all(word in text for word in words), text


def test_a_failure_within_and_what_is_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a kernel of large pages configuring ends so: power has nothing to do with it."""
    monkeypatch.setattr(hailo_status, "large_pages", lambda: 16384)
    words = explain(8)
    assert "This kernel's pages have 16 KiB, and the card takes 4. On the host: options hailo_pci force_desc" in words
    assert "power" not in words
    monkeypatch.setattr(hailo_status, "large_pages", lambda: 0)
    words = explain(8)
    assert "After a stop for heat the card has to be reopened" in words
    assert "power the host off and on" in words
    assert "force_desc" not in words


@pytest.mark.parametrize(
    ("size", "option", "large"), [(4096, "0", 0), (16384, "0", 16384), (16384, "4096", 0), (65536, "16384", 65536)]
)
def test_pages_that_the_card_does_not_take(tmp_path: Path, size: int, option: str, large: int) -> None:
    folder = tmp_path / "sys/module/hailo_pci/parameters"
    assert large_pages(tmp_path, size) == (size if size > 4096 else 0)
    folder.mkdir(parents=True)
    (folder / "force_desc_page_size").write_text(option)
    assert large_pages(tmp_path, size) == large


def test_what_nobody_has_met_yet() -> None:
    assert explain(199) == (
        "HailoRT reports status 199, which this worker does not know. "
        f"Look at its log lines; {command('doctor')} says more."
    )
    assert "an error without a number" in explain(-1)
    assert (name_of(63), name_of(199)) == ("63 HAILO_STREAM_ABORT", "status 199")


def test_exceptions_in_a_few_words() -> None:
    assert describe(HailoRTStreamAborted("Stream was aborted")).startswith("63 HAILO_STREAM_ABORT: the card closed")
    assert describe(ValueError("array is not writeable")) == "ValueError: array is not writeable"
    assert describe(AttributeError()) == "AttributeError"
