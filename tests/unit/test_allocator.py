"""Freed pictures are taken again as they are, and go back when they are trimmed: in a process of its own."""

import platform
import subprocess
import sys

import pytest
from project import PROJECT

CODE = """
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
    done = subprocess.run([sys.executable, "-c", CODE], cwd=PROJECT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    fresh, given_back = map(int, done.stdout.split())
    assert fresh <= 3, "of 30 pictures; with a mapping for each it would be 30"
    assert given_back >= 6, "of 7, although one lies behind them"
