"""Whether the weights of the networks find room in the host's memory."""

import re
from pathlib import Path

from ml_target.system.cards import Finding, fact
from ml_target.system.cgroups import memory_left

GIB = 1 << 30


def memory_check(needed: int, root: Path = Path("/")) -> Finding:
    """Whether the weights, `needed` bytes, find room: HailoRT pins at least a HEF's size in host memory for each."""
    free = re.search(r"MemAvailable:\s+(\d+) kB", fact(root / "proc/meminfo"))
    left = memory_left(root)
    if free is None:
        detail = f"{needed / GIB:.2f} GiB are needed for weights; what is free cannot be told"
        return Finding(None, "memory", detail, looked=False)
    available = int(free.group(1)) * 1024
    bound = ""
    if left is not None and left < available:
        available, bound = int(left), " within the container's limit"
    detail = f"{needed / GIB:.2f} GiB for weights, {available / GIB:.1f} GiB free{bound}"
    if needed <= available:
        return Finding(True, "memory", detail)
    remedy = "Free memory or raise the container's limit; or load fewer models: CLIP_BACKEND with one name"
    return Finding(False, "memory", detail, remedy)
