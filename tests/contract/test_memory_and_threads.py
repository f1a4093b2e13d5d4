"""What a whole process does: freed pictures are taken again or go back, and libraries keep no memory and no threads."""

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from process_memory import memory
from project import PROJECT

from ml_target.imaging.resample import resample

MEMORY = """
import resource, threading
from pathlib import Path
import numpy as np
from ml_target.system import allocator

allocator.tune()
PICTURE, PAGE = 8 * 2**20, 4096

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

def work():
    kept = [np.ones(PICTURE, np.uint8) for _ in range(3)]
    assert len(kept) == 3

def in_a_thread():
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

work()
before = faults()
for _ in range(10):
    in_a_thread()
print((faults() - before) * PAGE // PICTURE)
pictures = [np.ones(PICTURE, np.uint8) for _ in range(8)]
last = bytes(1000)
full = resident()
del pictures[:7]
allocator.trim()
print((full - resident()) // PICTURE)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library is left as it is")
def test_freed_memory_is_reused_by_other_threads_and_trimmed_from_the_middle() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    fresh, given_back = map(int, done.stdout.split())
    assert fresh <= 3, "of 30 pictures; with a mapping for each it would be 30"
    assert given_back >= 6, "of 7, although one lies behind them"


def test_blas_has_no_threads_of_its_own() -> None:
    """They would wait for each other, several pictures at a time, and burn ten times the processor's time."""
    code = (
        "import os, ml_target, numpy; numpy.ones((500, 500)) @ numpy.ones((500, 500)); "
        "print(len(os.listdir('/proc/self/task')))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(ended.stdout) == 1


@pytest.mark.slow
def test_four_threads_keep_no_memory_and_leave_no_threads() -> None:
    """Pictures of changing sizes: libvips caches nothing, and has no threads of its own."""

    def work(seed: int) -> None:
        sizes = np.random.default_rng(seed)
        for _ in range(25):
            high, wide = sizes.integers(200, 600, 2).tolist()
            picture = np.full((high, wide, 3), 99, np.uint8)
            assert (resample(picture, high // 2, wide // 2) == 99).all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
        before, threads = memory(os.getpid()), len(list(Path("/proc/self/task").iterdir()))
        list(pool.map(work, range(4, 12)))
        assert memory(os.getpid()) - before < 30 * 2**20
        assert len(list(Path("/proc/self/task").iterdir())) <= threads
