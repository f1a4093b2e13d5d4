"""The worker's packages in the environment whose Python runs this, unless they are there: what setup.sh calls.

install_packages.py SET MEGABYTES COMMAND

SET        cpu, dev or full: the extra of pyproject.toml; each holds the one before
MEGABYTES  what the set takes on disk
COMMAND    the word after ./setup.sh, for the remedies
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

PROJECT = Path(__file__).resolve().parents[1]
SETS = ("cpu", "dev", "full")
UNPINNED = "tests/requirements-nodeps.txt"
"""References of the tests, installed without what they say to need."""

NO_SPACE = ("No space left", "Errno 28")
OFFLINE = (
    *("Temporary failure in name resolution", "Name or service not known", "Network is unreachable"),
    *("Failed to establish a new connection", "Connection refused", "timed out", "ProxyError", "Max retries exceeded"),
)
UNTRUSTED = ("CERTIFICATE_VERIFY_FAILED",)
UNFIT = ("No matching distribution found", "ResolutionImpossible")


def fail(reason: str, *remedy: str) -> NoReturn:
    """Ends as setup.sh does."""
    print(f"\nsetup.sh: {reason}", *(f"\n    {line}" for line in remedy), sep="", file=sys.stderr)
    sys.exit(1)


def state() -> str:
    """A hash of everything that decides about the packages: this Python, this folder, the lists of what is wanted."""
    lists = b"".join((PROJECT / name).read_bytes() for name in ("pyproject.toml", UNPINNED))
    return hashlib.sha256(f"{sys.version} {PROJECT}\n".encode() + lists).hexdigest()


def held(stamp: Path) -> str:
    """The set that the environment holds; "" without one, or where what decides has changed since."""
    try:
        before, name = stamp.read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return ""
    return name if before == state() else ""


def has(stamp: Path, wanted: str) -> bool:
    """Whether the set is there, or a larger one."""
    there = held(stamp)
    return there in SETS and SETS.index(there) >= SETS.index(wanted)


def no_space() -> NoReturn:
    fail(
        f"no space left on the disk that holds {PROJECT}.",
        "Free some (df -h tells how much there is), then run this again: it goes on where it stopped.",
    )


def refuse(words: str, log: Path, command: str) -> NoReturn:
    """Ends with the remedy for what pip said."""

    def said(*marks: str) -> bool:
        return any(mark in words for mark in marks)

    if said(*NO_SPACE):
        no_space()
    if said(*OFFLINE):
        fail(
            "the packages could not be downloaded: no connection to the package index.",
            "Check the network, and the proxy (HTTPS_PROXY) if there is one, then run this again.",
            "With a mirror of your own, set it up for pip once (pip help config); its settings count here.",
        )
    if said(*UNTRUSTED):
        fail(
            "the package index's certificate is not trusted here.",
            "Run: apt-get install ca-certificates; behind an inspecting proxy, tell pip its certificate "
            "(pip help config: cert).",
        )
    if said(*UNFIT):
        sudo = "sudo " if os.environ.get("SUDO_USER") else ""
        fail(
            f"pip finds no fitting package for this machine ({platform.machine()}, Python 3.{sys.version_info.minor}).",
            f"Its output is above. Another Python often helps: {sudo}PYTHON=/path/to/python3.12 ./setup.sh {command}",
        )
    fail(
        f"pip failed; its output is above, all of it in {log}.",
        "Run this again; if it stays, report it with that file.",
    )


def pip_install(log: Path, command: str, *words: str) -> None:
    """Ends with the remedy if pip fails. `log`: takes all that pip says."""
    log.unlink(missing_ok=True)
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--log", str(log)]
    if subprocess.run([*pip, *words], cwd=PROJECT).returncode:
        there = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        refuse("\n".join(there.splitlines()[-400:]), log, command)


def main(name: str, megabytes: int, command: str) -> None:
    """Installs the set. Ends with the remedy where it cannot."""
    environment = Path(sys.prefix)
    stamp, log = environment / "set-up", environment / "pip.log"
    if has(stamp, name):
        print("    already there")
        return
    free = shutil.disk_usage(PROJECT).free >> 20
    if free < megabytes:
        fail(
            f"the packages need about {megabytes} MB, and there are {free} MB free for {PROJECT}.",
            "Free some space, then run this again.",
        )
    print(f"    downloading and installing, about {megabytes} MB on disk", flush=True)
    if name == "full":
        print("    (PyTorch brings CUDA, several GB more, unless your pip is set up for its CPU build)", flush=True)
    stamp.unlink(missing_ok=True)
    pip_install(log, command, "--editable", f".[{name}]")
    if name != "cpu":
        pip_install(log, command, "--no-deps", "-r", UNPINNED)
    stamp.write_text(f"{state()} {name}\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    except KeyboardInterrupt:
        sys.exit(130)
