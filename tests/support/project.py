"""Where the project lies, and what may lie beside it."""

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
TESTS = PROJECT / "tests"
SUPPORT = TESTS / "support"
SHARED = Path(os.environ.get("TESTS_SHARED") or PROJECT.parent / "shared")
"""Photos and networks that are not part of the project; tests that want them skip without."""
