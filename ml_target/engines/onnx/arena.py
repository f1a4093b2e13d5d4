"""The memory that ONNX Runtime's sessions compute in: one arena for all of them.

An arena keeps what was freed, so that the next inference needs no fresh pages. With one for each session, each would
keep as much as its largest inference took; shared, a detector's memory serves the recogniser next.
"""

from functools import cache
from typing import Any

import numpy as np

SAME_AS_REQUESTED = 1
"""The arena grows by what is asked for, not by powers of two (onnxruntime's ArenaExtendStrategy)."""

_IDENTITY = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)
"""An ONNX file that returns its input, one float: an arena is only ever emptied at the end of a run."""


def use_shared(options: Any) -> None:
    """Lets a session with these options take the memory of all."""
    _make()
    options.add_session_config_entry("session.use_env_allocators", "1")


def shrink() -> None:
    """Frees what no session uses at the moment."""
    broom, option = _make()
    broom.run(None, {"x": np.zeros(1, np.float32)}, option)


def shrinking() -> Any:
    """Options for a run after which the arena is shrunk."""
    return _make()[1]


@cache  # ONNX Runtime has one such arena in a process
def _make() -> tuple[Any, Any]:
    import onnxruntime

    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    cpu = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    # No limit, and ONNX Runtime's own sizes for the first and for split pieces.
    onnxruntime.create_and_register_allocator(cpu, onnxruntime.OrtArenaCfg(0, SAME_AS_REQUESTED, -1, -1))
    options, run = onnxruntime.SessionOptions(), onnxruntime.RunOptions()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    run.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return onnxruntime.InferenceSession(_IDENTITY, options, providers=["CPUExecutionProvider"]), run
