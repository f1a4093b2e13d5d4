"""Takes HailoRT's library and Python package out of their two files, once for each pair of files.

The packages are unpacked, not installed: the `.deb`'s scripts expect a running systemd and a kernel to build a
driver for, and the wheel names packages that the worker never loads. dpkg-deb reads the one, zipfile the other.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from email.parser import BytesHeaderParser
from errno import ENOSPC
from pathlib import Path

from ml_target.errors import SettingsError
from ml_target.hailort.packages import DEBIAN_NAMES, Pair, Platform, require_readable, where
from ml_target.hailort.place import ADVICE

PYTHON = "python"
LARGEST = 256 * 2**20
"""Bytes of the library, and of all that is in the wheel: about ten times what 4.23 has."""

UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
"""What zipfile raises for a file that is no archive, is damaged or cut, or has a password or an unknown method."""


def library_name(version: str) -> str:
    """The library's file, which is also the name that the Python package asks the loader for."""
    return f"libhailort.so.{version}"


def unpacked(pair: Pair, here: Platform, base: Path) -> Path:
    """A folder with the library and, in `python`, the package; made below `base` unless it is there already.

    Raises SettingsError for damaged or foreign packages, and where `base` is full.
    """
    own = base / f"hailort-{os.getuid()}"
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        if own.is_symlink() or own.stat().st_uid != os.getuid():
            raise SettingsError(f"{own} belongs to somebody else", "Delete it")
        done = own / f"{pair.version}-{_digest(pair)}"
        if not done.is_dir():
            with tempfile.TemporaryDirectory(dir=own, prefix="new-") as made:
                _fill(pair, here, Path(made) / "all")
                _keep(Path(made) / "all", done)
    except OSError as error:
        if error.errno == ENOSPC:
            raise SettingsError(f"{base} is too small for HailoRT's library", f"It needs 128 MB. {ADVICE}") from error
        raise SettingsError(
            f"HailoRT cannot be unpacked into {base} ({error})", "Look at the folder and its disk"
        ) from error
    return done


def _keep(made: Path, done: Path) -> None:
    """Gives the folder its name in one step; another process may have been quicker, with the same content."""
    try:
        made.rename(done)
    except OSError:
        if not done.is_dir():
            raise


def _digest(pair: Pair) -> str:
    """Tells this pair of files from others of the same names: their sizes and dates."""
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in (pair.deb, pair.wheel)]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]


def _fill(pair: Pair, here: Platform, into: Path) -> None:
    (into / PYTHON).mkdir(parents=True)
    examine_deb(pair.deb, pair.version, here)
    take_library(pair.deb, pair.version, into)
    examine_wheel(pair.wheel, pair.version)
    with zipfile.ZipFile(pair.wheel) as archive:
        archive.extractall(into / PYTHON)  # which drops `..` and leading slashes


def examine_deb(deb: Path, version: str, here: Platform) -> None:
    """Raises SettingsError unless it is HailoRT's package of that version for this machine."""
    require_readable(deb)
    if shutil.which("dpkg-deb") is None:
        raise SettingsError("dpkg-deb is not installed, which unpacks HailoRT's .deb", "Install the package dpkg")
    asked = subprocess.run(
        ["dpkg-deb", "--show", "--showformat=${Package}\n${Version}\n${Architecture}\n", deb],
        capture_output=True,
        text=True,
        errors="replace",
    )
    if asked.returncode:
        raise damaged(deb, "is no Debian package", version)
    name, found, made_for = asked.stdout.split("\n")[:3]
    if name != "hailort":
        raise SettingsError(f"{deb} is the package {name}, not HailoRT", where(version))
    if found != version and not found.startswith(tuple(f"{version}{mark}" for mark in "-+~")):
        raise SettingsError(f"{deb} holds HailoRT {found}", f"Give it back its own name. {where(version)}")
    if made_for not in (DEBIAN_NAMES.get(here.machine), "all"):
        raise SettingsError(f"{deb} is made for {made_for}", f"Give it back its own name. {where(version)}")


def take_library(deb: Path, version: str, into: Path) -> None:
    """Writes the library into a folder. Raises SettingsError for a package that is damaged or holds none."""
    wanted = library_name(version)
    if not take_file(deb, version, wanted, into):
        raise SettingsError(
            f"{deb} holds no {wanted}",
            f"The driver and TAPPAS have similar names: the one called HailoRT is needed. {where(version)}",
        )


def take_file(deb: Path, version: str, name: str, into: Path) -> bool:
    """Writes the file called `name` into a folder, wherever the package has it; False where it has none.

    Raises SettingsError for a damaged package.
    """
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as tar:
        try:
            found = _write_member(tar, name, into / name)
        except tarfile.TarError as error:
            raise damaged(deb, "is damaged", version) from error
        finally:
            assert tar.stdout is not None
            tar.stdout.close()  # what follows the file is not read
    if not found and tar.returncode:
        raise damaged(deb, "is damaged", version)
    return found


def _write_member(tar: "subprocess.Popen[bytes]", name: str, file: Path) -> bool:
    """Writes the first regular member called `name`, wherever it lies; False without one. Raises TarError."""
    with tarfile.open(fileobj=tar.stdout, mode="r|") as members:
        for member in members:
            if member.isfile() and Path(member.name).name == name:
                content = members.extractfile(member)
                if content is None or member.size > LARGEST:
                    raise tarfile.ReadError(f"{member.name} has {member.size} bytes")
                with file.open("wb") as out:
                    shutil.copyfileobj(content, out)
                return True
    return False


def examine_wheel(wheel: Path, version: str) -> None:
    """Raises SettingsError unless it is a whole wheel with HailoRT's Python package of that version."""
    require_readable(wheel)
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            if sum(info.file_size for info in archive.infolist()) > LARGEST:
                raise SettingsError(f"{wheel} is far larger than HailoRT's package", where(version))
            if archive.testzip() is not None:
                raise damaged(wheel, "is damaged", version)
            if not any(name.startswith("hailo_platform/") for name in names):
                raise SettingsError(f"{wheel} holds no hailo_platform", where(version))
            found = next((name for name in names if name.endswith(".dist-info/METADATA")), None)
            said = BytesHeaderParser().parsebytes(archive.read(found))["Version"] if found else ""
    except UNREADABLE as error:
        raise damaged(wheel, "is no Python wheel", version) from error
    if said != version:
        raise SettingsError(
            f"{wheel} holds HailoRT {said or 'of no version'}", f"Give it back its own name. {where(version)}"
        )


def damaged(file: Path, how: str, version: str) -> SettingsError:
    """The error for a file that is not what its name says, as after a download that was cut short."""
    return SettingsError(
        f"{file} {how} ({file.stat().st_size} bytes)",
        f"The download was cut short, or a web page was saved in its place: get it again. {where(version)}",
    )
