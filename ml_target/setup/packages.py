"""HailoRT's two packages in hailo-rt-4/: library, Python wheel and driver must be of one version, to the last digit."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml_target.config import Settings
from ml_target.hailort.packages import Platform
from ml_target.setup.facts import Facts
from ml_target.setup.steps import Refusal

FOLDER = "hailo-rt-4"
PYTHON = "cp312"
"""The Python in the image."""

DRIVERS = ("hailort-pcie-driver", "hailo-dkms")


@dataclass(frozen=True, slots=True)
class Lack:
    """A package that cannot be used: there is none of its name, or its file is something else. `lines`: in words."""

    kind: Literal["missing", "damaged"]
    lines: tuple[str, ...]


def names(driver: str, machine: str) -> tuple[str, str]:
    """The library's package and the Python package."""
    here = Platform(machine, PYTHON)
    return here.deb(driver), here.wheel(driver)


def lacking(project: Path, driver: str, machine: str) -> list[Lack]:
    """What stands in the way; nothing where both are there."""
    deb, wheel = names(driver, machine)
    found = (
        _look_at(project, deb, b"!<arch>", "a Debian package", driver, machine),
        _look_at(project, wheel, b"PK", "a Python wheel", driver, machine),
    )
    return [lack for lack in found if lack]


def _look_at(project: Path, name: str, beginning: bytes, kind: str, driver: str, machine: str) -> Lack | None:
    folder = project / FOLDER
    file = folder / name
    if file.is_file():
        with file.open("rb") as content:
            if content.read(len(beginning)) == beginning:
                return None
        words = f"{name} is not {kind}: a page or a part of the file was saved. Download it again."
        return Lack("damaged", (words,))
    others = sorted(path.name for path in folder.glob(f"*{file.suffix}") if path.is_file())
    instead = (f"    {other} is there instead: {_what_differs(other, driver, machine)}" for other in others)
    return Lack("missing", (f"missing: {name}", *instead))


def _what_differs(name: str, driver: str, machine: str) -> str:
    """Why a .deb or .whl will not do, in words."""
    words = []
    if name.startswith(DRIVERS):
        words.append("the driver for the host, not the library")
    elif not name.startswith("hailort"):
        words.append("another package")
    version = re.match(r"hailort[-_](\d+\.\d+\.\d+)", name)
    if version and version[1] != driver:
        words.append(f"version {version[1]}, the driver is {driver}")
    python = re.search(r"-cp3(\d+)-cp3", name)
    if python and python[1] != "12":
        words.append(f"for Python 3.{python[1]}, the image has 3.12")
    for made_for, ends in (("x86_64", ("amd64.deb", "x86_64.whl")), ("aarch64", ("arm64.deb", "aarch64.whl"))):
        if name.endswith(ends) and machine != made_for:
            words.append(f"for {made_for}, this machine is {machine}")
    return "; ".join(words) or "another name; rename it if it is the right file"


def refusal(facts: Facts, driver: str, machine: str, found: Sequence[Lack]) -> Refusal:
    """Where the packages come from, by hand and otherwise. `found`: of `lacking`."""
    return Refusal(
        f"HailoRT {driver}, the driver's version, is not complete in {facts.project}/{FOLDER}.",
        *(line for lack in found for line in lack.lines),
        "",
        "From the Hailo Developer Zone (https://hailo.ai/developer-zone/, an account is free): AI Software Suite,",
        f"HailoRT, version {driver}, {machine}, Linux, Python 3.12. These two files, under these names:",
        *(f"    {name}" for name in names(driver, machine)),
        f"If {driver} is no longer offered there, install another driver of branch 4 on the host and take its version.",
        f"Without an account, from {source(facts)}, which speaks plain http: ./setup.sh --fetch-hailort"
        if source(facts).startswith("http:")
        else f"Without an account, from {source(facts)}: ./setup.sh --fetch-hailort",
    )


def source(facts: Facts) -> str:
    """The address that they can be fetched from."""
    return facts.given("HAILORT_SOURCE") or Settings().hailort_source
