"""Leaving a process that cannot go on."""

import subprocess
import sys

import pytest
from project import PROJECT

START = "import signal, sys, time; from ml_target.runtime import leaving\n"


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("leaving.leave(70); print('not reached')", 70, ""),
        (
            "signal.signal(signal.SIGTERM, lambda *_: (print('answered', flush=True), sys.exit(70)))\n"
            "leaving.leave(70); time.sleep(30)",
            70,
            "answered",
        ),
        (
            "leaving.HURRY_S, leaving.LEAVE_S = 0.1, 2\n"
            "signal.signal(signal.SIGTERM, lambda *_: print('hangs', flush=True))\n"
            "leaving.leave(70); time.sleep(1); time.sleep(30)",
            70,
            "hangs\nhangs",  # asked twice: the second signal calls off what is left
        ),
    ],
    ids=["no server", "the server stops", "the server does not stop"],
)
def test_leaving(code: str, status: int, said: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", START + code], cwd=PROJECT, capture_output=True, text=True, timeout=25
    )
    assert (process.returncode, process.stdout.strip()) == (status, said), process.stderr
