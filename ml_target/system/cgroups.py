"""The limits of the container or service that this process runs in: processors and memory.

Linux keeps such limits in control groups, of which there are two versions. Version 1 (Debian 10, Unraid 6, older NAS
systems) has a tree of folders for each controller, version 2 one tree for all. A limit counts for every group below
the one that it was set for, so all groups from this process's own up to the top of the mounted tree are read.
Source: the kernel's documentation, admin-guide/cgroup-v1 and cgroup-v2.rst, and proc(5) on mountinfo.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

USUAL = "sys/fs/cgroup"
"""Where the trees are usually mounted; read where /proc does not say."""

UNLIMITED = 1 << 60
"""Version 1 has no word for "no limit": it says the largest whole number of pages."""


@dataclass(frozen=True, slots=True)
class _Tree:
    """A mounted tree: its folder, and the group that this folder is."""

    folder: Path
    top: str


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Processors' worth of time that this process may take; None where there is no quota."""
    return _least(
        [
            *_readings(root, "", lambda group: _share(*_words(group / "cpu.max", 2))),
            *_readings(
                root,
                "cpu",
                lambda group: _share(*_words(group / "cpu.cfs_quota_us", 1), *_words(group / "cpu.cfs_period_us", 1)),
            ),
        ]
    )


def available_cores() -> int:
    """Processors this process may use: affinity, and the quota of its container or service if there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return max(1, cores if quota is None else min(cores, int(quota)))


def memory_left(root: Path = Path("/")) -> float | None:
    """Bytes that this process's groups may still take; None where memory is not limited."""
    return _least(
        [
            *_readings(root, "", lambda group: _rest(group / "memory.max", group / "memory.current")),
            *_readings(
                root, "memory", lambda group: _rest(group / "memory.limit_in_bytes", group / "memory.usage_in_bytes")
            ),
        ]
    )


def _least(found: list[float]) -> float | None:
    return min(found, default=None)


def _share(quota: float | None = None, period: float | None = None) -> float | None:
    return quota / period if quota is not None and quota > 0 and period else None


def _rest(limit_file: Path, used_file: Path) -> float | None:
    limit = next(iter(_words(limit_file, 1)), None)
    if limit is None or limit >= UNLIMITED:
        return None
    return max(0.0, limit - (next(iter(_words(used_file, 1)), None) or 0.0))


def _words(file: Path, count: int) -> list[float | None]:
    """The file's first numbers; None for a word, as in `max`. Nothing where the file cannot be read."""
    try:
        words = file.read_text(encoding="ascii", errors="replace").split()[:count]
    except OSError:  # that controller is not there, or this user may not read it
        return []
    return [float(word) if word.lstrip("-").isdecimal() else None for word in words]


# -------------------------------------------------------------------- groups


def _readings(root: Path, controller: str, ask: Callable[[Path], float | None]) -> Iterator[float]:
    """The limit in each group of this process; `controller` "" for version 2."""
    for group in _groups(root, controller):
        answer = ask(group)
        if answer is not None:
            yield answer


def _groups(root: Path, controller: str) -> list[Path]:
    """The folders of this process's own group and of those above it, as far up as the tree is mounted."""
    trees, path = _trees(root, controller), _own_path(root, controller)
    found: list[Path] = []
    for tree in trees:
        try:
            below = PurePosixPath(path).relative_to(tree.top)
        except ValueError:  # the tree's top is another group: this container's own is mounted as the top
            below = PurePosixPath()
        inside = () if ".." in below.parts else below.parts
        found += [tree.folder.joinpath(*inside[:depth]) for depth in range(len(inside), -1, -1)]
    return found


def _trees(root: Path, controller: str) -> list[_Tree]:
    found = []
    for line in _lines(root / "proc/self/mountinfo"):
        front, _, back = line.partition(" - ")
        fields, kind = front.split(), back.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        fits = kind[0] == "cgroup" and controller in kind[2].split(",") if controller else kind[0] == "cgroup2"
        if fits:
            found.append(_Tree(root / fields[4].lstrip("/"), fields[3]))
    if found:
        return found
    names = (controller, f"{controller},{controller}acct") if controller else ("",)
    return [_Tree(root / USUAL / name, "/") for name in names]


def _own_path(root: Path, controller: str) -> str:
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if (controller in names.split(",")) if controller else (number == "0" and not names):
            return path or "/"
    return "/"


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux, or /proc is not there
        return []
