"""The checks, side by side, and then the tests: what `./setup.sh test` runs in .venv.

Without words the fast tests; --full: all of them. Further words go to pytest.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
SHELL = re.compile(rb"#! ?/.*\b(ba)?sh\b")
"""The first line of a shell script."""

COMPILED = PROJECT / "tests" / "unit" / "__pycache__"
"""Where it is not there yet, each of pytest's processes would compile all tests for itself: one does it beside mypy,
which takes longer."""

FAST, ALL = "not slow", "slow or not slow"
"""For pytest's `-m`. Without it, tests/conftest.py takes the first where there is a `-k`."""

FOLDERS = (".ci/*", "scripts/*", "tests/*.sh", "tests/support/*.sh")


def shell_files() -> list[str]:
    """The scripts that shellcheck looks at, relative to the project."""
    found = [PROJECT / "setup.sh", *(path for pattern in FOLDERS for path in sorted(PROJECT.glob(pattern)))]
    return [str(p.relative_to(PROJECT)) for p in found if p.is_file() and SHELL.match(p.read_bytes())]


def checks() -> dict[str, list[str]]:
    """What runs beside each other, by its name."""
    python, tools = sys.executable, Path(sys.executable).parent
    dockerfiles = sorted(path.name for path in PROJECT.glob("Dockerfile.*"))
    found = {
        "ruff check": [python, "-m", "ruff", "check"],
        "ruff format": [python, "-m", "ruff", "format", "--check"],
        "mypy": [python, "-m", "mypy"],
        "shellcheck": [str(tools / "shellcheck"), *shell_files()],
        "hadolint": [str(tools / "hadolint"), *dockerfiles],
    }
    if not COMPILED.is_dir():
        quiet = "addopts=--import-mode=importlib -p no:terminal"  # or it lists the tests
        found["pytest --collect-only"] = [python, "-m", "pytest", "--collect-only", "-o", quiet]
    return found


def run_checks(commands: dict[str, list[str]]) -> list[str]:
    """Runs them beside each other, and prints each one's words in their order; returns the names of what failed."""
    failed = []
    with ThreadPoolExecutor(len(commands)) as pool:
        for name, done in zip(commands, pool.map(run, commands.values()), strict=True):
            print(f"\n--- {name}\n{done.stdout}", end="", flush=True)
            if done.returncode:
                failed.append(name)
    return failed


def run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    """Status 1 for what cannot be started, too."""
    try:
        return subprocess.run(
            command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, f"{error}\n")


def pytest_command(words: list[str], *, full: bool) -> list[str]:
    """Each file has one process, those that build images share one (tests/support/processes.py), and what takes longest
    comes first (tests/conftest.py). Tests wait often: more processes than there are cores keep these busy. The fast
    ones wait more, the slow ones take more memory.
    """
    processes = min((os.cpu_count() or 1) + (1 if full else 2), 4)
    spread = ["-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder"]
    return [sys.executable, "-m", "pytest", *spread, "-m", ALL if full else FAST, *words]


def main(words: list[str]) -> int:
    """Exit status 1, with the names of what failed, unless all passed."""
    full = words[:1] == ["--full"]
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process compiles all tests again, in every run
    failed = run_checks(checks())
    print("\n--- pytest", flush=True)
    if subprocess.run(pytest_command(words[full:], full=full), cwd=PROJECT).returncode:
        failed.append("pytest")
    if failed:
        print(f"\nsetup.sh: failed: {', '.join(failed)}\n    Their output is above.", file=sys.stderr)
        return 1
    if full:
        print("\nAll checks and tests passed.")
    else:
        print("\nAll checks and the fast tests passed (./setup.sh test).", end=" ")
        print("With the slow ones, as CI has it: ./setup.sh test --full")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
