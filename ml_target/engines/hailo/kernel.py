"""Whether this driver has a known fault on this kernel."""

import re
from collections.abc import Iterator
from pathlib import Path

from ml_target.hailort.driver import plain
from ml_target.system.cards import driver_version, fact
from ml_target.system.finding import Finding

UNLOCKED = ("4.21.0", "4.23.0")
"""Drivers that look a buffer's memory up without the lock (`find_vma`); 4.22.0 takes it."""

DEMANDING = (6, 12)
"""From this kernel on, the missing lock loses the card after hours of load, until the next boot."""


def known_fault(root: Path = Path("/")) -> Iterator[Finding]:
    """A note where driver and kernel are known not to work together.

    The copy in Raspberry Pi's kernel has the fix; a module built outside the kernel's tree, as DKMS
    does, has an O in its taint.
    """
    driver = plain(driver_version(root))
    release = fact(root / "proc/sys/kernel/osrelease")
    kernel = tuple(int(number) for number in re.findall(r"\d+", release)[:2])
    if driver not in UNLOCKED or len(kernel) < 2 or kernel < DEMANDING:
        return
    taint = root / "sys/module/hailo_pci/taint"
    built_in = "O" not in fact(taint) if taint.exists() else bool(re.search(r"rpi|rpt", release))
    if not built_in:
        yield Finding(
            None,
            "driver fault",
            f"hailo_pci {driver} on kernel {release} is reported to lose the card after hours of load",
            "Until a reboot nothing helps then. Install driver and HailoRT 4.22.0, which have the missing lock, or "
            f"a kernel older than {DEMANDING[0]}.{DEMANDING[1]}; on a Raspberry Pi its kernel's own driver does",
        )
