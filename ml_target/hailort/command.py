"""`python3 -m ml_target hailort`: lists HailoRT's packages in a folder, or fetches those of the driver's version.

They come over plain http, so nothing is fetched or kept without a yes: the package's own name, version and machine
are read, known checksums held, and where none is known the owner sees the SHA-256 and decides. It is remembered.
Only the questions are our own code; files are fetched as model files are.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ml_target.config import PROJECT, Settings
from ml_target.errors import FetchError, SettingsError, WorkerError
from ml_target.hailort import accepted
from ml_target.hailort.driver import INSTALL, numbers, plain, shortcoming, unfit
from ml_target.hailort.packages import ZONE, Platform, foreign, packages, pairs, where
from ml_target.hailort.sources import MD5, SOURCE_VERSION
from ml_target.hailort.unpack import examine_deb, examine_wheel
from ml_target.remedies import in_image
from ml_target.system.cards import driver_version
from ml_target.system.folders import writable
from ml_target.transfer.download import discard, download, writing
from ml_target.transfer.progress import Progress
from ml_target.transfer.web import SourceError, Web, shown

OK, INCOMPLETE, WRONG_USE, STOPPED = 0, 1, 2, 130
OWN = Settings().hailort_source
Ask = Callable[[str], bool]

DESCRIPTION = """HailoRT's two packages, without Hailo's login. What to do:
  list      which versions a folder holds, and which one the driver needs (when nothing is named)
  fetch     get the library and the Python package of the driver's version from Hailo's own public server

The server speaks plain http and its files are not signed: fetch asks before it begins, and shows the SHA-256 of
every file without a published checksum before it keeps it. By hand: docs/hosts.md tells where else they come from.

Exit code: 0 all is well, 1 something is missing or was refused, 2 an argument is wrong, 130 stopped by Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch: two names of files of one version for one platform, from a folder of a server into a folder."""

    version: str
    here: Platform
    server: str
    folder: Path
    agreed: bool = False
    """Somebody has said yes to the server already."""

    @property
    def names(self) -> tuple[str, str]:
        return self.here.deb(self.version), self.here.wheel(self.version)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what `run` reads."""
    parser.description = DESCRIPTION
    parser.add_argument("action", nargs="?", choices=("list", "fetch"), default="list")
    parser.add_argument("--version", metavar="4.X.Y", help="instead of the driver's", dest="wanted")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="default: HAILORT_DIR, else hailo-rt-4")
    parser.add_argument("--python", metavar="3.X", help="for this Python instead of the one that runs here")
    parser.add_argument("--machine", choices=("x86_64", "aarch64"), help="for such a machine instead of this one")
    parser.add_argument(
        "--agreed", action="store_true", help="yes to the first question, which setup.sh has asked; not to checksums"
    )
    parser.add_argument("--yes", action="store_true", help="yes to every question; the checksums are still shown")


def run(arguments: argparse.Namespace, settings: Settings, root: Path = Path("/"), ask: Ask | None = None) -> int:
    """Runs the action; returns the exit code."""
    folder = (arguments.to or _folder(settings)).absolute()
    here = Platform()
    if arguments.machine:
        here = replace(here, machine=arguments.machine)
    if arguments.python:
        here = replace(here, python=f"cp{arguments.python.replace('.', '')}")
    driver = driver_version(root)
    if arguments.action == "list":
        return _list(folder, here, driver)
    version = plain(arguments.wanted or driver)
    if not version:
        print(f"{_unknown(arguments.wanted)}", file=sys.stderr)
        return WRONG_USE
    if short := shortcoming(version):
        print(f"HailoRT {version} is for a driver that {short}. {INSTALL}", file=sys.stderr)
        return INCOMPLETE
    try:
        return fetch(
            Wanted(version, here, settings.hailort_source, folder, arguments.agreed),
            ask or (_always if arguments.yes else _asked),
        )
    except KeyboardInterrupt:
        print("\nstopped; what is whole was kept", file=sys.stderr)
        return STOPPED


def fetch(wanted: Wanted, ask: Ask, web: Web | None = None) -> int:
    """Fetches what is missing; returns the exit code. Files that are there are examined, and kept."""
    missing = [name for name in wanted.names if not (wanted.folder / name).exists()]
    try:
        for name in wanted.names:
            if name not in missing:
                _examine(wanted.folder / name, wanted)
                print(f"{wanted.folder / name} is there, and is what its name says")
        if not missing:
            return OK
        _require_writable(wanted.folder)
        own = ", Hailo's own public server" if wanted.server == OWN else ""
        print(f"HailoRT {wanted.version} for {wanted.here.machine}, {wanted.here.python}: {' and '.join(missing)}")
        print(f"from {shown(wanted.server)}{own}")
        if wanted.server.startswith("http:"):
            print("It speaks plain http: anybody on the way could change them.")
        if not wanted.agreed and not ask(f"Fetch into {wanted.folder}?"):
            print(f"nothing was fetched. {_by_hand(wanted)}", file=sys.stderr)
            return INCOMPLETE
        wanted.folder.mkdir(parents=True, exist_ok=True)
        for name in missing:
            _fetch(name, wanted, ask, web or Web())
    except WorkerError as error:
        print(f"{error}", file=sys.stderr)
        return INCOMPLETE
    print(f"HailoRT {wanted.version} is complete in {wanted.folder}")
    return OK


def _require_writable(folder: Path) -> None:
    """Raises SettingsError for a folder of which nothing would be kept."""
    if in_image() and not folder.is_dir():
        raise SettingsError(
            f"no folder is mounted at {folder}, so what is fetched would go with this container",
            f'Start it with -v FOLDER:{folder} --user "$(stat -c %u:%g FOLDER)"',
        )
    if not writable(folder):
        owner = '--user "$(stat -c %u:%g FOLDER)" after `docker run`, and no :ro' if in_image() else "as its owner"
        raise SettingsError(f"{folder} cannot be written", f"Name another folder with --to, or run it {owner}")


def _fetch(name: str, wanted: Wanted, ask: Ask, web: Web) -> None:
    """One file, under its name only once it is examined and accepted. Raises WorkerError."""
    part = wanted.folder / f"{name}.part"
    url = f"{wanted.server.rstrip('/')}/{name}"
    try:
        download(web, url, part, Progress(sys.stderr), name)
    except SourceError as error:
        remedy = ". ".join(filter(None, (error.remedy, _by_hand(wanted))))
        separator = error.separator if error.remedy else None
        raise FetchError(f"{name} could not be fetched: {error.reason}", remedy, separator=separator) from error
    try:
        _examine(part, wanted)
        sha256 = _accepted(part, name, wanted.folder, ask)
    except WorkerError:
        discard(part)  # a second try would resume from it
        raise
    with writing(wanted.folder):
        part.replace(wanted.folder / name)
        accepted.remember(wanted.folder, name, sha256)
    print(f"{wanted.folder / name}: kept")


def _examine(file: Path, wanted: Wanted) -> None:
    if ".deb" in file.name:
        examine_deb(file, wanted.version, wanted.here)
    else:
        examine_wheel(file, wanted.version)


def _accepted(part: Path, name: str, folder: Path, ask: Ask) -> str:
    """The SHA-256 of a file that may be kept. Raises SettingsError for one that may not."""
    sha256 = accepted.sha256(part)
    known = accepted.read(folder).get(name)
    if known and known != sha256:
        raise SettingsError(
            f"{name} is not the file that was accepted before: its SHA-256 is {sha256}, not {known}",
            f"It was not kept. Ask Hailo which is right; to accept it, take the line out of {folder / accepted.RECORD}",
        )
    if published := MD5.get(name):
        if (found := _md5(part)) != published:
            raise SettingsError(
                f"{name} is not the file that Hailo published: its MD5 is {found}, not {published}",
                "It was not kept. Try again later, or get it from the Developer Zone",
            )
        print(f"{name}: MD5 {published}, as published; SHA-256 {sha256}")
    elif not known:
        print(f"{name}: no checksum is published. SHA-256 {sha256}")
        if not ask("Keep it?"):
            raise SettingsError(f"{name} was not kept", "Compare its SHA-256 with that of a source you trust")
    return sha256


def _md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def _list(folder: Path, here: Platform, driver: str) -> int:
    found = packages(folder)
    whole = {pair.version for pair in pairs(folder, here)}
    print(f"{folder}: {'no packages of HailoRT' if not found else ''}")
    for path in found:
        print(f"  {path.name}")
    if others := foreign(folder):
        print(f"  passed over, as HailoRT's packages have other names: {', '.join(others)}")
    print(f"complete for {here.machine}, {here.python}: {', '.join(sorted(whole, key=numbers)) or 'none'}")
    print(f"the driver's version: {driver or 'unknown, no driver is loaded'}")
    if trouble := unfit(driver):
        print(f"{trouble.reason}. {trouble.remedy}")
        return INCOMPLETE
    version = plain(driver)
    if version in whole or (whole and not version):
        return OK
    print(where(version))
    return INCOMPLETE


def _unknown(wanted: str | None) -> str:
    if wanted:
        return f"--version {wanted} is not a version such as 4.23.0"
    return (
        "The driver's version is not known here, because none is loaded: name it, as in --version 4.23.0. On the host "
        "with the card `cat /sys/module/hailo_pci/version` tells it"
    )


def _by_hand(wanted: Wanted) -> str:
    """Not `where`, which would name the command that has just failed."""
    other = ""
    if wanted.server == OWN and wanted.version != SOURCE_VERSION:
        other = f"; the folder of that server is for {SOURCE_VERSION}, and HAILORT_SOURCE names another"
    return f"Get {' and '.join(wanted.names)} by hand and put them into {wanted.folder}, from the {ZONE}{other}"


def _folder(settings: Settings) -> Path:
    """The project's own only where there is one: in a container nothing else than what is mounted stays."""
    there = settings.hailort_dir
    return there if in_image() or (there.is_dir() and writable(there)) else PROJECT / "hailo-rt-4"


def _always(question: str) -> bool:
    print(f"{question} yes")
    return True


def _asked(question: str) -> bool:
    """The answer typed on the terminal; no without one."""
    if not sys.stdin.isatty():
        print(f"{question} There is nobody to ask: run it on a terminal, or with --yes.", file=sys.stderr)
        return False
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        print()
        return False
