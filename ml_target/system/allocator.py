"""How glibc's malloc keeps freed memory: for the next picture while there is work, and for the system afterwards.

By default every thread has its own heaps (arenas), and an allocation of megabytes is mapped for itself: fresh pages,
faulted in one by one and zeroed, and unmapped when freed. A worker that allocates a few pictures and frames of the
same sizes over and over spends a third of its processor time on that. With one arena and a threshold above a usual
picture, what one thread has freed the next one takes as it is. `trim` hands the free pages back, wherever they lie.

Numbers of the options: malloc.h of glibc. Other C libraries are left as they are.
"""

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8

MAPPED = 32 * 2**20
"""Bytes from which an allocation is mapped for itself, glibc's upper limit: a picture of 11 megapixels."""

SPARE = 64 * 2**20
"""Free bytes at the heap's end from which they go back at once, without waiting for `trim`."""


def tune() -> None:
    """Sets glibc's options. For the whole process, before its threads begin."""
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, MAPPED)
        mallopt(M_TRIM_THRESHOLD, SPARE)


def trim() -> None:
    """Gives free pages back to the system: milliseconds, without the GIL. Allocations wait meanwhile."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
