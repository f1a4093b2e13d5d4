"""HailoRT's packages in a folder, by their names: which versions are whole, and which one the driver needs.

Names are those of Hailo's downloads: `hailort_4.23.0_amd64.deb` for the library, and
`hailort-4.23.0-cp312-cp312-linux_x86_64.whl` for the Python package. Nothing is opened here.
"""

import os
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ml_target.config import Settings
from ml_target.errors import SettingsError
from ml_target.hailort.driver import numbers, plain, unfit
from ml_target.hailort.place import TMPFS
from ml_target.remedies import in_image, in_new_container

DEB = re.compile(r"hailort_(?P<version>\d+\.\d+\.\d+)_(?P<arch>[a-z0-9]+)\.deb")
WHEEL = re.compile(r"hailort-(?P<version>\d+\.\d+\.\d+)-(?:cp\d+-cp\d+|py3-none)-(?:linux_(?:x86_64|aarch64)|any)\.whl")
DEBIAN_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
"""The machines that HailoRT 4 is made for, as Python names them: as Debian does."""

FOLDER = Settings().hailort_dir
"""The default of HAILORT_DIR."""

ZONE = "Hailo Developer Zone (hailo.ai, free account) -> Software Downloads -> AI Software Suite -> HailoRT"


@dataclass(frozen=True, slots=True)
class Platform:
    """What packages must be made for. `machine`: as in `x86_64`; `python`: as in `cp312`."""

    machine: str = platform.machine()
    python: str = f"cp{sys.version_info.major}{sys.version_info.minor}"

    def deb(self, version: str) -> str:
        """The name of the library's package."""
        return f"hailort_{version}_{DEBIAN_NAMES.get(self.machine, self.machine)}.deb"

    def wheel(self, version: str) -> str:
        """The name of the Python package."""
        return f"hailort-{version}-{self.python}-{self.python}-linux_{self.machine}.whl"

    def wheels(self, version: str) -> tuple[str, ...]:
        """Names that the Python package may have: the second fits every Python and machine."""
        return self.wheel(version), f"hailort-{version}-py3-none-any.whl"


@dataclass(frozen=True, slots=True)
class Pair:
    """The two packages of one version."""

    version: str
    deb: Path
    wheel: Path


def packages(folder: Path) -> list[Path]:
    """All files there whose names are those of HailoRT's packages, for whatever machine; [] without the folder.

    Raises SettingsError for a folder that cannot be listed.
    """
    try:
        names = sorted(path for path in folder.iterdir() if DEB.fullmatch(path.name) or WHEEL.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise SettingsError(
            f"The folder {folder} with HailoRT's packages cannot be read ({error.strerror})",
            "Let this program's user read it: chmod -R a+rX on the folder of the host",
        ) from error
    return names


def pairs(folder: Path, here: Platform) -> Iterator[Pair]:
    """Every version of which both packages are there for this machine and Python, oldest first."""
    there = {path.name: path for path in packages(folder)}
    for version in sorted({_version(name) for name in there}, key=numbers):
        wheel = next((there[name] for name in here.wheels(version) if name in there), None)
        if (deb := there.get(here.deb(version))) and wheel:
            yield Pair(version, deb, wheel)


def pair_for(driver: str, folder: Path, here: Platform) -> Pair:
    """The packages of the driver's version; where the driver does not say its version, the only ones there are.

    Raises SettingsError, with the names of the files that are needed.
    """
    if here.machine not in DEBIAN_NAMES:
        raise SettingsError(
            f"HailoRT is made for {' and '.join(DEBIAN_NAMES)}, and this is {here.machine}",
            "Use ENGINE=cpu, or a 64-bit system",
        )
    if trouble := unfit(driver):
        raise SettingsError(trouble.reason, trouble.remedy)
    found = {pair.version: pair for pair in pairs(folder, here)}
    if not driver:
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            raise SettingsError(
                f"{folder} holds HailoRT {', '.join(found)}, and the driver's version cannot be read here",
                "Leave only that version there, which `cat /sys/module/hailo_pci/version` shows on the host",
            )
    version = plain(driver)
    if version in found:
        return found[version]
    raise _none_fits(version, folder, here)


def require_readable(file: Path) -> None:
    """Raises SettingsError for a file that this user may not read, and for a link that leads nowhere from here."""
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be read ({error.strerror})",
            "Put the file itself there, no link, and let everybody read it: chmod a+r, on the host",
        ) from error


def foreign(folder: Path) -> list[str]:
    """Names there of Debian packages and wheels that are not named as HailoRT's are."""
    known = packages(folder)
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".deb", ".whl") and path not in known)


def misnamed(folder: Path, version: str) -> SettingsError:
    """For a folder with packages, none of which has the name of one of HailoRT's. `version`: the driver's, or ""."""
    if trouble := unfit(version):
        return SettingsError(trouble.reason, trouble.remedy)
    here, version = Platform(), plain(version) or "VERSION"
    return SettingsError(
        f"HailoRT is not installed here, and nothing in {folder} has the name of its packages: "
        f"{', '.join(foreign(folder))}",
        f"Put {here.deb(version)} and {here.wheel(version)} there, of the driver's version and under these names. "
        f"{where('' if version == 'VERSION' else version)}",
    )


def _none_fits(version: str, folder: Path, here: Platform) -> SettingsError:
    there = [path.name for path in packages(folder)]
    held = f"{folder} holds {', '.join(there)}"
    if others := foreign(folder):
        held += f"; other names were passed over: {', '.join(others)}"
    if not version:
        return SettingsError(
            f"No version of HailoRT is complete for {here.machine} and {here.python}: {held}",
            f"Put {here.deb('VERSION')} and {here.wheel('VERSION')} there, both of the driver's version. {where()}",
        )
    missing = [] if here.deb(version) in there else [here.deb(version)]
    if not any(name in there for name in here.wheels(version)):
        missing.append(here.wheel(version))
    return SettingsError(
        f"The driver on the host is version {version}, and of HailoRT {version} {' and '.join(missing)} "
        f"{'are' if len(missing) > 1 else 'is'} missing: {held}",
        f"Put {'them' if len(missing) > 1 else 'it'} there. {where(version)}",
    )


def absent(version: str) -> str:
    """What to do where there is no HailoRT at all, without the full stop. `version`: the driver's, "" if unknown."""
    if trouble := unfit(version):
        return f"{trouble.reason}. {trouble.remedy}"
    here, version = Platform(), plain(version) or "VERSION"
    if in_image():
        folder = os.environ.get("HAILORT_DIR", "").strip()
        into = folder or f"a folder, and start the container with -v FOLDER:{FOLDER}:ro {TMPFS}"
        return (
            f"Put {here.deb(version)} and {here.wheel(version)}, of the driver's version, into {into}. "
            f"{where('' if version == 'VERSION' else version)}"
        )
    return (
        f"Get {here.wheel(version)} of the driver's version from Hailo's developer zone: pip install --no-deps FILE; "
        f"or put it and {here.deb(version)} into a folder, and set HAILORT_DIR to it"
    )


def where(version: str = "") -> str:
    """A sentence, without its full stop: where the packages come from."""
    fetch = in_new_container("hailort fetch", *(("--version", version) if version else ()), mount=f"FOLDER:{FOLDER}")
    return f"They come from the {ZONE}, or by `{fetch}`"


def _version(name: str) -> str:
    found = DEB.fullmatch(name) or WHEEL.fullmatch(name)
    return found["version"] if found else ""
