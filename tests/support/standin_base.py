"""What stands for `ubuntu:24.04` where Docker Hub cannot be reached: a minimal system of the same family.

Made by mmdebstrap from the packages that apt on this machine knows. It has Python 3.12 where pyenv
has one here, else Debian's own Python, for which the images can be built as well.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
OWN_PYTHON = {"bookworm": "3.11"}
"""Debian's Python by release, as far as requirements.txt has wheels for it."""
LEAN = 'rm -rf "$1"/usr/share/doc/* "$1"/usr/share/locale/* "$1"/usr/share/man/*'
"""No documentation. Told to dpkg as path-exclude, mmdebstrap would filter every package for it, which takes longer."""


@dataclass(frozen=True)
class Base:
    """A root file system in a tar file, and the version of the Python to build with."""

    rootfs: Path
    python: str = "3.12"


class NoBaseError(Exception):
    """No base can be made here, and why."""


def make_base(folder: Path) -> Base:
    """The base, in `folder`; $IMAGE_TESTS_BASE names a ready one (a root file system of Ubuntu 24.04)."""
    if given := os.environ.get("IMAGE_TESTS_BASE"):
        return Base(Path(given))
    rootfs = folder / "base.tar"
    suite = _debian_release()
    python = _pyenv_python()
    version = "3.12" if python is not None else OWN_PYTHON.get(suite, "")
    if not version:
        raise NoBaseError(f"there is no Python 3.12 of pyenv, and Debian {suite} has none that fits")
    hooks = [LEAN, *_trust(folder), *(() if python is None else _install(python, folder))]
    command = ["mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io"]
    if python is not None:  # the libraries that any Python needs come with Debian's own
        command.append("--include=libpython3-stdlib")
    command += [f"--customize-hook={hook}" for hook in hooks]
    done = subprocess.run([*command, suite, rootfs, _mirror(suite)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoBaseError(f"mmdebstrap made no base: {done.stderr.strip()[-500:]}")
    return Base(rootfs, version)


def _debian_release() -> str:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    told = dict(line.split("=", 1) for line in lines if "=" in line)
    if told.get("ID") != "debian":
        raise NoBaseError("this is not Debian: name a root file system of Ubuntu 24.04 with IMAGE_TESTS_BASE")
    return told["VERSION_CODENAME"]


def _pyenv_python() -> Path | None:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return max((root / "versions").glob("3.12.*"), default=None)


def _mirror(suite: str) -> str:
    """Where apt has Debian's packages from."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    wanted = ["Created-By: Packages", "Label: Debian", f"Codename: {suite}"]
    told = subprocess.run([*command, *wanted], capture_output=True, text=True, check=False).stdout.split()
    if not told:
        raise NoBaseError(f"apt has no package lists of Debian {suite} (apt-get update gets them)")
    return told[0]


def _trust(folder: Path) -> list[str]:
    """pip in the build trusts whom this machine trusts, as behind an inspecting proxy."""
    if not CERTIFICATES.is_file():
        return []
    settings = folder / "pip.conf"
    settings.write_text("[global]\ncert = /etc/pip-certificates.pem\n")
    return [f"copy-in {settings} /etc", f"upload {CERTIFICATES} /etc/pip-certificates.pem"]


def _install(python: Path, folder: Path) -> list[str]:
    """pyenv's Python into /usr/local, compiled as Ubuntu's is, and empty packages under the names that Ubuntu's has."""
    left_out = ("*.opt-?.pyc", "*.a", "lib/python3.12/test", "lib/python3.12/idlelib", "lib/python3.12/site-packages/*")
    hooks = [
        f"tar -C {python} {' '.join(f'--exclude={name}' for name in left_out)} -c . "
        '| tar -C "$1/usr/local" -x --no-same-owner',
        'chroot "$1" ldconfig',
        # All that the images ask apt for is there: lists of what else there is would be read anew in each build.
        ': >"$1/etc/apt/sources.list"',
    ]
    for name in ("python3.12", "python3.12-venv"):
        tree = folder / name
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 3.12.0-0standin\nArchitecture: all\n"
            "Maintainer: nobody <nobody@example.invalid>\nDescription: stand-in\n"
        )
        subprocess.run(["dpkg-deb", "--build", tree, f"{tree}.deb"], check=True, capture_output=True)
        shutil.rmtree(tree)
        hooks += [f"copy-in {tree}.deb /tmp", f'chroot "$1" dpkg --install /tmp/{name}.deb', f'rm "$1/tmp/{name}.deb"']
    return hooks
