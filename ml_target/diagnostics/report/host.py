"""What the report says about versions and the machine. Uses only the standard library, so it always works."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from ml_target import __version__
from ml_target.config import PROJECT
from ml_target.diagnostics.report.section import Section
from ml_target.remedies import IN_IMAGE, in_image
from ml_target.system.cards import driver_version
from ml_target.system.cgroups import available_cores

PACKAGES = (
    "numpy", "opencv-python-headless", "opencv-python", "pillow", "onnxruntime", "onnxruntime-gpu", "hailort",
    "tokenizers", "sentencepiece", "xxhash", "orjson", "fastapi", "starlette", "pydantic", "uvicorn",
    "python-multipart", "prometheus-client",
)  # fmt: skip
NEEDED = ("numpy", "pillow", "tokenizers", "fastapi", "uvicorn", "orjson", "python-multipart")
"""Without these the worker does not start."""

DECODERS = ("libjpeg_turbo", "jpg_2000", "webp", "avif", "libtiff", "zlib")
LIBRARIES = ("usr/lib", "usr/local/lib", "usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu")
GIB = 1 << 30


def versions(root: Path = Path("/")) -> Section:
    """Versions of worker, Python, packages, picture decoders, HailoRT's library and driver."""
    lines = [f"worker         immich-ml-hailo {__version__}{_commit()}", f"python         {_python()}"]
    found = [f"{package} {version}" for package in PACKAGES if (version := _version(package))]
    missing = [package for package in NEEDED if not _version(package)]
    lines += [f"{'packages' if n == 0 else '':13}  {words}" for n, words in enumerate(_in_rows(found))]
    lines.append(f"decoders       {_decoders()}")
    libraries = sorted({path.name for folder in LIBRARIES for path in (root / folder).glob("libhailort.so.*")})
    lines.append(f"HailoRT        {', '.join(libraries) or 'no libhailort.so in the usual folders'}")
    lines.append(f"driver         {'hailo_pci ' + driver_version(root) if driver_version(root) else 'not loaded'}")
    wrong = [f"not installed: {', '.join(missing)}. Install this project again, with its packages"] if missing else []
    return Section("Versions", "\n".join(lines), wrong, [f"immich-ml-hailo {__version__}, {_python()}"])


def host(root: Path = Path("/")) -> Section:
    """System, processor, memory, the container's limits, disk."""
    memory = dict(re.findall(r"(\w+):\s+(\d+) kB", _read(root / "proc/meminfo")))
    of_memory = ", ".join(
        f"{label} {int(memory[key]) * 1024 / GIB:.1f} GiB"
        for label, key in (("total", "MemTotal"), ("available", "MemAvailable"), ("swap", "SwapTotal"))
        if key in memory
    )
    model = _read(root / "proc/device-tree/model").rstrip("\0")
    lines = [
        f"system         {_os(root)}",
        f"kernel         {platform.system()} {platform.release()}, {platform.machine()}, {platform.version()}",
        f"page size      {os.sysconf('SC_PAGE_SIZE')} bytes",
        f"processor      {_processor(root)}{f' ({model})' if model else ''}",
        f"cores          {os.cpu_count()} on the machine, {available_cores()} for this process",
        f"memory         {of_memory or 'unknown'}",
        f"C library      {' '.join(platform.libc_ver()) or 'unknown'}",
        f"runs           {_container(root)}, as user {os.getuid()}, groups {' '.join(map(str, os.getgroups()))}",
        *(f"{'limits' if n == 0 else '':13}  {words}" for n, words in enumerate(_limits(root / "sys/fs/cgroup"))),
        f"disk           {_disk('project', PROJECT)}, {_disk('/tmp', Path('/tmp'))}",
        f"load           {_read(root / 'proc/loadavg') or 'unknown'}",
    ]
    killed = re.search(r"^oom_kill (\d+)$", _read(root / "sys/fs/cgroup/memory.events"), re.MULTILINE)
    wrong = []
    if killed and int(killed.group(1)):
        wrong.append(f"memory ran out {killed.group(1)} times in this container: raise its limit, or load fewer models")
    return Section("Host", "\n".join(lines), wrong, [])


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _commit() -> str:
    """The commit of a git clone, and whether it was changed."""
    if not (PROJECT / ".git").exists() or shutil.which("git") is None:
        return ""
    command = ["git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
    return f", commit {output}" if output else ""


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"


def _in_rows(words: list[str], each: int = 5) -> Iterator[str]:
    for start in range(0, len(words), each):
        yield ", ".join(words[start : start + each])


def _decoders() -> str:
    try:
        from PIL import features

        return ", ".join(f"{name} {features.version(name) or 'missing'}" for name in DECODERS)
    except Exception as error:  # a broken Pillow is what the report is for
        return f"Pillow cannot be asked ({type(error).__name__}: {error})"


def _os(root: Path) -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]*)', _read(root / "etc/os-release"), re.MULTILINE)
    return found.group(1) if found else "unknown"


def _processor(root: Path) -> str:
    found = re.search(r"^(?:model name|Hardware|cpu model)\s*:\s*(.+)$", _read(root / "proc/cpuinfo"), re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def _container(root: Path) -> str:
    if in_image():
        return "in this project's image"
    if any((root / name).exists() for name in (".dockerenv", "run/.containerenv")) or os.environ.get(IN_IMAGE):
        return "in a container"
    return "on the host"


def _limits(folder: Path) -> list[str]:
    """The container's limits, from cgroup v2 or v1."""
    names = (
        "cpu.max", "memory.max", "memory.high", "memory.current", "memory.peak", "memory.swap.max", "pids.max",
        "cpuset.cpus.effective", "memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes",
        "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us",
    )  # fmt: skip
    found = {name: value for name in names if (value := _read(folder / name))}
    words = [f"{name.rpartition('/')[2]} {_size(v) if 'memory' in name else v}" for name, v in found.items()]
    return list(_in_rows(words)) or ["none to be seen"]


def _size(value: str) -> str:
    """Bytes in words; a number larger than any memory is how cgroup v1 says that there is no limit."""
    if not value.isdecimal():
        return value
    return f"{int(value) / GIB:.2f} GiB" if int(value) < 1 << 60 else "max"


def _disk(label: str, folder: Path) -> str:
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        return f"{label}: {error.strerror}"
    written = "" if os.access(folder, os.W_OK) else ", not to be written"
    return f"{label}: {usage.free / GIB:.1f} of {usage.total / GIB:.1f} GiB free{written}"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
