"""HailoRT's run-time part for an image, out of its two packages; Dockerfile.hailo-base runs it inside the build.

unpack_hailort.py FROM TO VERSION PYTHON [DEB_ARCH [WHL_ARCH]]

FROM     the folder with hailort_VERSION_ARCH.deb and the wheel hailort-VERSION-cp3XX-cp3XX-linux_ARCH.whl
TO       gets usr/lib/libhailort.so.VERSION, usr/bin/hailortcli if the package has it, and the wheel
PYTHON   as in 3.12
*_ARCH   amd64 or arm64, x86_64 or aarch64; this system's when left out or empty
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # no package is installed in that stage of the build
from ml_target.errors import SettingsError
from ml_target.hailort.driver import INSTALL, shortcoming
from ml_target.hailort.packages import DEBIAN_NAMES, ZONE, Pair, Platform
from ml_target.hailort.unpack import examine_deb, examine_wheel, take_file, take_library

MACHINES = {debian: machine for machine, debian in DEBIAN_NAMES.items()}
DRIVER = "cat /sys/module/hailo_pci/version"
CLI = "hailortcli"


class Refused(Exception):
    """What is wrong, then lines that say what to do."""


def platform(system: str, deb_arch: str, whl_arch: str, python: str) -> Platform:
    """What the packages must be made for. `system`: what Debian calls this one."""
    if system not in MACHINES:
        raise Refused(
            f"HailoRT is made for amd64 and arm64, and this image is for {system}.",
            "Build with --platform linux/amd64 or --platform linux/arm64.",
        )
    deb_arch = deb_arch or DEBIAN_NAMES.get(whl_arch, system)
    if deb_arch not in MACHINES:
        raise Refused(
            f"DEB_ARCH={deb_arch} is neither amd64 nor arm64.",
            "Leave DEB_ARCH and WHL_ARCH out: both follow the image.",
        )
    machine = MACHINES[deb_arch]
    if whl_arch not in ("", machine):
        raise Refused(
            f"DEB_ARCH={deb_arch} and WHL_ARCH={whl_arch} do not go together.",
            "amd64 goes with x86_64, arm64 with aarch64. Leave both out: they follow the image.",
        )
    if deb_arch != system:
        raise Refused(
            f"DEB_ARCH={deb_arch} is asked for, and this image is for {system}.",
            f"To build for another machine, name it for both images: docker build --platform linux/{deb_arch} ...",
            "(it needs QEMU's handlers on this host: apt-get install qemu-user-static binfmt-support).",
            "For this machine, leave DEB_ARCH and WHL_ARCH out.",
        )
    return Platform(machine, f"cp{python.replace('.', '')}")


def find(folder: Path, version: str, python: str, wanted: Platform) -> Pair:
    """The two files, by their names."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise Refused(
            f"HAILORT_VERSION={version} is not a version of HailoRT.",
            "It is that of the driver on the host, as in --build-arg HAILORT_VERSION=4.23.0;",
            f"{DRIVER} tells it.",
        )
    if short := shortcoming(version):
        raise Refused(
            f"HAILORT_VERSION={version} is for a driver that {short}.",
            f"{INSTALL}.",
            f"{DRIVER} tells which that is, as in --build-arg HAILORT_VERSION=4.23.0.",
        )
    deb = folder / wanted.deb(version)
    wheels = [folder / name for name in wanted.wheels(version)]
    wheel = next((path for path in wheels if path.is_file()), wheels[0])
    missing = [str(path) for path in (deb, wheel) if not path.is_file()]
    if missing:
        there = sorted(path.name for path in folder.iterdir() if path.suffix in (".deb", ".whl"))
        again = f"Is one of those versions the driver's ({DRIVER})? Then --build-arg HAILORT_VERSION=..."
        raise Refused(
            f"missing: {' and '.join(missing)}",
            f"Get it from the {ZONE}: version {version}, {wanted.machine}, Linux, Python {python},",
            f"and put it into {folder}/ under that name.",
            *([f"There are: {' '.join(there)}. {again}"] if there else []),
        )
    return Pair(version, deb, wheel)


def unpack(pair: Pair, wanted: Platform, to: Path) -> None:
    """Fills `to`, which is not there unless both packages are right. Raises SettingsError."""
    made = to.with_name(f"{to.name}.part")
    try:
        for folder in (made, made / "usr/lib", made / "usr/bin"):
            folder.mkdir(parents=True)
        examine_deb(pair.deb, pair.version, wanted)
        take_library(pair.deb, pair.version, made / "usr/lib")
        if take_file(pair.deb, pair.version, CLI, made / "usr/bin"):
            (made / "usr/bin" / CLI).chmod(0o755)
        examine_wheel(pair.wheel, pair.version)
        shutil.copyfile(pair.wheel, made / pair.wheel.name)
        for path in made.rglob("*"):  # the same files make the same layer: what is built upon it stays in the cache
            os.utime(path, (0, pair.deb.stat().st_mtime))
        made.rename(to)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def main(source: str, to: str, version: str, python: str, deb_arch: str = "", whl_arch: str = "") -> int:
    """Exit status 1, with what is wrong and what to do, if the packages cannot be taken."""
    system = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
    try:
        wanted = platform(system, deb_arch, whl_arch, python)
        pair = find(Path(source), version, python, wanted)
        unpack(pair, wanted, Path(to))
    except (Refused, SettingsError) as error:
        told = (f"{error.reason}.", f"Get it again: {ZONE}.") if isinstance(error, SettingsError) else error.args
        print(f"\nHailoRT cannot be put into the image: {told[0]}", *told[1:], sep="\n    ", file=sys.stderr)
        return 1
    print(f"HailoRT {version} for {wanted.machine}, Python {python}: {pair.deb.name}, {pair.wheel.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
