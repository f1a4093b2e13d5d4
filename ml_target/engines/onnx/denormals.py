"""Denormal numbers count as zero while a network runs.

Numbers below 1.2e-38 take many Intel processors a hundred times as long as others, and no network's answer depends
on them. ONNX Runtime's `session.set_denormal_as_zero` reaches only the session's own threads; the thread that calls
`run` does most of the work. glibc's fegetenv and fesetenv reach it from Python.

On x86-64 their fenv_t is 28 bytes of the x87 unit, then MXCSR in 4 bytes (bits/fenv.h), whose bits FTZ and DAZ are
15 and 6. Elsewhere nothing is done: ONNX Runtime's own option does nothing there either, and the cores of the usual ARM
boards compute with denormals at full speed, or nearly.
"""

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

FTZ_AND_DAZ = 0x8040


class _Environment(ctypes.Structure):
    """fenv_t."""

    _fields_ = (("x87", ctypes.c_uint32 * 7), ("mxcsr", ctypes.c_uint32))


@contextmanager
def flushed() -> Iterator[None]:
    """For the calling thread, until the block ends: numpy in the same thread is to have its denormals afterwards."""
    library = _library()
    if library is None:
        yield
        return
    before = _Environment()
    library.fegetenv(ctypes.byref(before))
    during = _Environment.from_buffer_copy(before)
    during.mxcsr |= FTZ_AND_DAZ
    library.fesetenv(ctypes.byref(during))
    try:
        yield
    finally:
        library.fesetenv(ctypes.byref(before))


@cache
def _library() -> Any:
    """The C library, None where the layout of its fenv_t is another."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "fegetenv") and hasattr(library, "fesetenv") else None
