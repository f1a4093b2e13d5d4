"""Imports point downwards, and packages stay where they belong: the contracts in pyproject.toml hold."""

import subprocess
import sys
from pathlib import Path

from project import PROJECT, TESTS, imported


def test_the_contracts_of_imports_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_imports_a_test() -> None:
    """What tests share lies in tests/support, so that one can be run, moved and deleted without another."""
    tests = {file.stem for file in TESTS.rglob("*.py") if file.stem.startswith("test_") or file.stem == "conftest"}
    assert {"test_imports", "conftest"} < tests
    files = [*TESTS.rglob("*.py"), *(PROJECT / "scripts").glob("*.py")]
    found = {str(file.relative_to(PROJECT)): names for file in files if (names := imported(file) & tests)}
    assert not found
