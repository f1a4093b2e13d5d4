"""The memory of a worker and its helper together, from /proc: private pages, and files in memory once each."""

import re
import threading
import time
from contextlib import suppress
from pathlib import Path

_OURS = "memfd:picture-"
_MAPPED = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) .* (\d+) +/memfd:picture-", re.MULTILINE)


def tree(process: int) -> list[int]:
    """The process and its children."""
    children = Path(f"/proc/{process}/task")
    found = [process]
    with suppress(OSError):  # it has just ended
        for task in children.iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def memory(process: int) -> int:
    """Bytes now. A file in memory counts whole where it is mapped, or with what is written of it where it is open."""
    total = 0
    files: dict[int, int] = {}
    for one in tree(process):
        with suppress(OSError):  # it has just ended
            total += _own(one)
            _count_files(one, files)
    return total + sum(files.values())


def _own(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssFile:"))) * 1024


def _count_files(process: int, files: dict[int, int]) -> None:
    open_files = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            if _OURS in str(descriptor.readlink()):
                written = descriptor.stat()
                open_files.add(written.st_ino)
                files[written.st_ino] = max(files.get(written.st_ino, 0), written.st_blocks * 512)
    for start, stop, inode in _MAPPED.findall(Path(f"/proc/{process}/maps").read_text()):
        if int(inode) not in open_files and int(inode) not in files:
            files[int(inode)] = int(stop, 16) - int(start, 16)


class Watch:
    """The most memory from now on, looked at every few milliseconds."""

    def __init__(self, process: int, every_s: float = 0.02) -> None:
        self._process = process
        self._every_s = every_s
        self._over = threading.Event()
        self.peak = memory(process)
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            self.peak = max(self.peak, memory(self._process))
            time.sleep(self._every_s)
