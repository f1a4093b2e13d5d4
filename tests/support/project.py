"""Where the project lies, what may lie beside it, and what its files import."""

import ast
import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
TESTS = PROJECT / "tests"
SUPPORT = TESTS / "support"
SHARED = Path(os.environ.get("TESTS_SHARED") or PROJECT.parent / "shared")
"""Photos and networks that are not part of the project; tests that want them skip without."""


def without_own_models() -> None:
    """Skips where this checkout has model files of its own: processes that tests start take them for missing ones."""
    kinds = (".hef", ".onnx", ".txt", ".gz", ".npz")
    if own := sorted(path.name for path in (PROJECT / "models").iterdir() if path.suffix in kinds):
        pytest.skip(f"models/ of this checkout holds {own[0]}, which a process of it takes for one that is missing")


def imported(file: Path) -> set[str]:
    """The modules that a file imports, at its top or further down."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
