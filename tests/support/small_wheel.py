"""A wheel of a few bytes, and the catalogue's entry for a file in it."""

import zipfile
from pathlib import Path

from ml_target.catalogue.types import ModelFile, WheelMember

WORDS = b"a\nb\n"


def make_wheel(folder: Path, name: str = "tinyvocab", version: str = "1.2") -> Path:
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/words.txt", WORDS)
        archive.writestr(f"{name}/more.txt", WORDS * 2)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def entry(name: str, member: str, requirement: str = "tinyvocab==1.2") -> ModelFile:
    return ModelFile(name, (WheelMember(requirement, member),), "MIT")
