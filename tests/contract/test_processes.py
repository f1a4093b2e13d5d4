"""Which tests go to one process of pytest-xdist."""

import pytest
from processes import CONTAINERS, TOGETHER, ByFile, StandsBack
from project import PROJECT


def test_what_builds_images_is_one_share() -> None:
    split = ByFile.__new__(ByFile)._split_scope
    assert all((PROJECT / file).exists() for files in TOGETHER.values() for file in files)
    assert {split(f"{file}::test_x[a::b]") for file in CONTAINERS} == {"containers"}
    assert split("tests/commands/selfcheck/test_selfcheck_own.py::test_x") == "selfcheck"
    assert split("tests/unit/test_a.py::test_x") != split("tests/unit/test_b.py::test_x")


def test_other_processes_stand_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lowered: list[int] = []
    monkeypatch.setattr("os.nice", lowered.append)
    images, others = StandsBack(), StandsBack()
    images.pytest_runtest_logstart(f"{CONTAINERS[0]}::test_x")
    assert not lowered
    for name in "ab":
        others.pytest_runtest_logstart(f"tests/unit/test_{name}.py::test_x")
    assert len(lowered) == 1
