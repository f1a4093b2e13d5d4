"""Errors say what is wrong and what to do about it, as fields and in one text."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_target import errors, remedies
from ml_target.catalogue.files import SCRFD_2_5G_HEF
from ml_target.config import Settings
from ml_target.errors import DamagedFileError, MissingFileError, SettingsError, WorkerError
from ml_target.store import Store
from ml_target.tasks.service import Service


def test_the_text_is_both_fields() -> None:
    error = WorkerError("it is broken", "Mend it.")
    assert (error.reason, error.remedy, str(error)) == ("it is broken", "Mend it.", "it is broken. Mend it.")
    assert str(WorkerError("It is broken.")) == "It is broken."
    assert str(MissingFileError("a is not there", "put it there.", "a is missing")) == "a is not there: put it there."
    assert WorkerError("x").cause == ""


def test_every_kind_takes_both() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, WorkerError)]
    assert len(kinds) > 10
    for kind in kinds:
        error = kind("a", "b", "c") if kind is MissingFileError else kind("a", "b")
        assert (error.reason, error.remedy) == ("a", "b")


def test_what_takes_over_a_remedy_says_it_in_the_same_words() -> None:
    never = MissingFileError("a.onnx is not there", "run this, or put it there.", "a.onnx is missing")
    service: Service[object] = Service("ocr", never=never)
    off = service.refusal()
    assert (off.reason, off.remedy) == ("ocr is off: a.onnx is not there", never.remedy)
    assert str(off) == f"ocr is off: {never}"


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copy_says_the_same(again: Callable[[WorkerError], WorkerError]) -> None:
    for error in (
        WorkerError("a", "B."),
        MissingFileError("a", "b", "c"),
        DamagedFileError("a", "B.", "c", "d"),
        WorkerError("a", "b", separator="; "),
    ):
        copied = again(error)
        assert (type(copied), str(copied), vars(copied)) == (type(error), str(error), vars(error))


def test_settings_that_are_wrong_have_one_remedy() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"ENGINE": "gpu", "IMMICH_PORT": "x"})
    assert caught.value.reason.startswith("ENGINE=gpu: it takes one of auto, hailo, cpu; IMMICH_PORT=x: it takes")
    assert caught.value.remedy == "Correct it, or leave it out for the default."


def test_a_damaged_file_of_another_chip_is_fetched_for_that_chip(tmp_path: Path) -> None:
    """By what the error says of itself: its sentences are not searched."""
    file = SCRFD_2_5G_HEF["hailo8l"]
    fetch = remedies.command("models fetch --engine hailo --chip hailo8l")
    told = Store.with_remedy(file, remedies.damaged("x is cut", first="Look at the disk"))
    assert str(told) == f"x is cut. Look at the disk. Fetch it again: {fetch}"
    other = Store.with_remedy(file, DamagedFileError("x is from tomorrow", f"Not this: {remedies.fetch_again()}"))
    assert other.remedy == f"Not this: {remedies.fetch_again()}"
    assert (told.cause, other.cause) == ("scrfd_2.5g.hef is damaged",) * 2
    (tmp_path / "scrfd_2.5g.hef").touch()
    with pytest.raises(DamagedFileError) as caught:
        Store(tmp_path).sound(file)
    assert caught.value.remedy == f"Fetch it again: {fetch}"
