"""The report as a process, and its sections."""

import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

from worker_process import environment

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=timezone.utc)


def run_report(*arguments: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ml_target", "report", *arguments],
        env=environment(**settings), cwd=cwd, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def section_of(text: str, title: str) -> str:
    """The fenced text below a heading."""
    found = re.search(rf"^## {re.escape(title)}\n\n(`+)text\n(.*?)\n\1$", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{title} is not in it:\n{text}"
    return found.group(2)
