"""What this process takes of the machine."""

import resource
from pathlib import Path

STATM = Path("/proc/self/statm")


def resident_bytes(statm: Path = STATM) -> int:
    """Bytes of this process that are in memory; 0 where the system does not say."""
    try:
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0
