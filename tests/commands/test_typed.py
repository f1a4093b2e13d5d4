"""Commands as somebody types them, in processes of their own: with a bare Python, and in any folder."""

import os
import subprocess
import sys
from pathlib import Path

from project import PROJECT

from ml_target import __version__
from ml_target.diagnostics.hints import hints
from ml_target.remedies import command


def test_the_check_of_settings_needs_nothing_but_python() -> None:
    """setup.sh asks it before any package is there; -S keeps those away that are."""
    here = "import sys; sys.path.insert(0, sys.argv.pop(1))"
    code = f"{here}; from ml_target.diagnostics.settings import main; sys.exit(main())"
    environment = {"CLIP_BACKENDS": "siglip", "HAILO_BATCH": "64", "IMMICH_PORT": "x"}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(PROJECT)], env=environment, capture_output=True, text=True
    )
    [only] = hints(["CLIP_BACKENDS"])
    assert done.returncode == 1
    assert done.stdout == f"NOTE: {only}\n"
    assert "HAILO_BATCH=64: it takes a whole number from 1 to 63; IMMICH_PORT=x: it takes" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_that_is_told_runs(tmp_path: Path) -> None:
    """In a folder that has nothing to do with the project."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        command("--version"), shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, __version__)
