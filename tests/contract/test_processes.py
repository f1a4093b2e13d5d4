"""Which tests go to one process of pytest-xdist."""

import subprocess
import sys

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


@pytest.mark.slow
@pytest.mark.parametrize(("words", "collected"), [((), False), (("-m", "slow"), True)])
def test_a_word_picks_fast_tests_alone(words: tuple[str, ...], collected: bool) -> None:
    """Whoever calls pytest with `-k`: a folder of slow tests gives none, unless `-m` asks for them."""
    file = "tests/parity/test_resize_parity.py"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--collect-only",
            "-k",
            "resize",
            *words,
            file,
        ],
        cwd=PROJECT,
        capture_output=True,
        text=True,
    )
    assert (f"{file}::" in done.stdout) is collected, done.stdout + done.stderr
    assert ("slow tests left out" in done.stdout) is not collected
