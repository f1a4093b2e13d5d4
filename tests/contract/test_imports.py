"""Imports point downwards, and packages stay where they belong: the contracts in pyproject.toml hold."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import get_args

from project import PROJECT, TESTS, imported

from ml_target.catalogue.needs import EngineName


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


def test_nobody_above_the_engines_compares_their_names() -> None:
    """They ask for capabilities, or the catalogue. The value of the setting ENGINE is no engine's name."""
    engines = set(get_args(EngineName))
    found = []
    for room in ("api", "diagnostics", "runtime", "tasks", "scheduling"):
        for file in (PROJECT / "ml_target" / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Compare) or ast.unparse(node.left) == "settings.engine":
                    continue
                sides = [each for side in node.comparators for each in ast.walk(side)]
                if any(isinstance(each, ast.Constant) and each.value in engines for each in sides):
                    found.append(f"{file.name}:{node.lineno}: {ast.unparse(node)}")
    assert not found
