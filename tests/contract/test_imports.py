"""Imports point downwards, and packages stay where they belong: the contracts in pyproject.toml hold."""

import ast
import subprocess
import sys
from pathlib import Path

from project import PROJECT, TESTS


def test_the_contracts_of_imports_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def imported(file: Path) -> set[str]:
    """The modules that a file imports, at its top or further down."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def test_no_file_imports_a_test() -> None:
    """What tests share lies in tests/support, so that one can be run, moved and deleted without another."""
    tests = {file.stem for file in TESTS.rglob("*.py") if file.stem.startswith("test_") or file.stem == "conftest"}
    assert {"test_imports", "conftest"} < tests
    files = [*TESTS.rglob("*.py"), *(PROJECT / "scripts").glob("*.py")]
    found = {str(file.relative_to(PROJECT)): names for file in files if (names := imported(file) & tests)}
    assert not found
