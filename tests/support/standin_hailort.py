"""HailoRT's two packages as the images install them, with the simulator inside: a `.deb` and a wheel."""

import shutil
import struct
import subprocess
import zipfile
from pathlib import Path

SIMULATOR = Path(__file__).resolve().parent / "hailo_sim"
VERSION = "4.23.0"
MACHINES = {"amd64": ("x86_64", 62), "arm64": ("aarch64", 183)}
"""By Debian's name: the name in wheels, and the number in ELF files."""

# The vendor's binding is linked to the library of its own version: without it, or with another, it does not load.
BINDING = """
import ctypes
try:
    ctypes.CDLL("libhailort.so.{version}")
except OSError as error:
    raise ImportError(str(error)) from None
from hailo_sim.environment import install_from_environment
install_from_environment()
"""
METADATA = """Metadata-Version: 2.1
Name: hailort
Version: {version}
Requires-Dist: argcomplete
Requires-Dist: contextlib2
Requires-Dist: future
Requires-Dist: netaddr
Requires-Dist: netifaces
Requires-Dist: numpy<2
"""
FAILING = "#!/bin/sh\necho 'the package was installed, not unpacked' >&2\nexit 1\n"


def deb_name(version: str = VERSION, arch: str = "amd64") -> str:
    return f"hailort_{version}_{arch}.deb"


def wheel_name(version: str = VERSION, arch: str = "amd64", python: str = "3.12") -> str:
    tag = f"cp{python.replace('.', '')}"
    return f"hailort-{version}-{tag}-{tag}-linux_{MACHINES[arch][0]}.whl"


def write_packages(folder: Path, version: str = VERSION, arch: str = "amd64", python: str = "3.12") -> None:
    """Both packages, under the vendor's names."""
    write_deb(folder / deb_name(version, arch), version, arch)
    write_wheel(folder / wheel_name(version, arch, python), version)


def write_deb(file: Path, version: str, arch: str, *, library: bool = True) -> None:
    """A package as the vendor's: library, command, header, and scripts that do not run in a build."""
    tree = file.with_name(f".{file.name}.tree")
    content = {
        "DEBIAN/control": f"Package: hailort\nVersion: {version}\nArchitecture: {arch}\n"
        "Maintainer: nobody <nobody@example.invalid>\nDescription: stand-in\n",
        "DEBIAN/postinst": FAILING,
        "usr/bin/hailortcli": f"#!/bin/sh\necho HailoRT-CLI version {version}\n",
        "usr/bin/hailort_service": FAILING,
        "usr/include/hailo/hailort.h": "/* for building against it */\n",
    }
    for name, text in content.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
        (tree / name).chmod(0o644 if name.endswith(("control", ".h")) else 0o755)
    if library:
        (tree / "usr/lib").mkdir()
        (tree / "usr/lib" / f"libhailort.so.{version}").write_bytes(shared_library(version, MACHINES[arch][1]))
        (tree / "usr/lib/libhailort.so").symlink_to(f"libhailort.so.{version}")
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, file], check=True, capture_output=True)
    shutil.rmtree(tree)


def shared_library(version: str, machine: int) -> bytes:
    """An ELF file that the loader takes, with a name and nothing else in it."""
    name = b"\0" + f"libhailort.so.{version}".encode() + b"\0"
    start = 64 + 3 * 56  # after the header and three program headers
    symbols, table = start + 6 * 16, start + 6 * 16 + 24
    # STRTAB, SYMTAB, STRSZ, SYMENT, SONAME, end
    dynamic = b"".join(
        struct.pack("<QQ", *entry) for entry in ((5, table), (6, symbols), (10, len(name)), (11, 24), (14, 1), (0, 0))
    )
    size = table + len(name)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 3, 64, 0, 0)
    load = struct.pack("<IIQQQQQQ", 1, 6, 0, 0, 0, size, size, 4096)
    points = struct.pack("<IIQQQQQQ", 2, 6, start, start, start, len(dynamic), len(dynamic), 8)
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)  # none that could be executed
    return header + load + points + stack + dynamic + bytes(24) + name


def write_wheel(file: Path, version: str) -> None:
    """The vendor's package, the simulator in its place."""
    info = f"hailort-{version}.dist-info"
    tag = "-".join(file.stem.split("-")[2:])
    content = {
        "hailo_platform/__init__.py": BINDING.format(version=version),
        f"{info}/METADATA": METADATA.format(version=version),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: false\nTag: {tag}\n",
    }
    content |= {f"hailo_sim/{module.name}": module.read_text() for module in sorted(SIMULATOR.glob("*.py"))}
    if version != VERSION:  # the simulator says which library it is
        rig = content["hailo_sim/rig.py"].replace(f'"{VERSION}"', f'"{version}"')
        content["hailo_sim/rig.py"] = rig.replace(_tuple(VERSION), _tuple(version))  # and the card has its firmware
    record = "".join(f"{name},,\n" for name in (*content, f"{info}/RECORD"))
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in {**content, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)


def _tuple(version: str) -> str:
    """As the simulator writes the version of the firmware: `(4, 23, 0)`."""
    return f"({version.replace('.', ', ')})"
