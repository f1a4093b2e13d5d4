"""What must be said of Hailo's driver before HailoRT is: which versions will do, and whether it has taken the card.

One rule, in one wording, for set-up, the image's build, the worker's start, the doctor and what looks for packages.
"""

import re
from typing import NamedTuple

from ml_target.system.cards import RELOAD, Card

OLDEST = (4, 20)
"""Below it HailoRT has no package for Python 3.12."""

NEXT_BRANCH = (5, 0)
"""From it on the driver is for other chips, and HailoRT, too."""

INSTALL = "Install the driver of branch 4 (hailo-dkms 4.23 or so) on the host, then HailoRT of its version"


class Trouble(NamedTuple):
    """What is wrong, and what to do, step by step: sentences without their full stops."""

    reason: str
    remedies: tuple[str, ...]

    @property
    def remedy(self) -> str:
        """All steps in one."""
        return ". ".join(self.remedies)


def numbers(version: str) -> tuple[int, ...]:
    """Major, minor and revision; empty if there are not three numbers."""
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()


def plain(version: str) -> str:
    """The version without what a distribution has added to it, as in 4.23.0; "" if there are not three numbers."""
    return ".".join(map(str, numbers(version)))


def shortcoming(version: str) -> str:
    """Why no driver of this version will do, after "which" or "that"; "" where it will, or the version is not known."""
    found = re.search(r"(\d+)\.(\d+)", version)
    if found is None:
        return ""
    number = int(found[1]), int(found[2])
    if number < OLDEST:
        return f"is too old; the worker needs {OLDEST[0]}.{OLDEST[1]} or newer"
    return "" if number < NEXT_BRANCH else "does not drive a Hailo-8: it is for Hailo-10 and 15"


def unfit(version: str) -> Trouble | None:
    """For a loaded driver that no HailoRT helps; None for one that will do, or whose version is not known."""
    short = shortcoming(version)
    return Trouble(f"hailo_pci {version} is loaded, which {short}", (INSTALL,)) if short else None


def not_taken(card: Card, version: str) -> Trouble:
    """For a card that the loaded driver of that version does not drive."""
    if card.driver:
        return Trouble(
            f"the card at {card.address} belongs to the driver {card.driver}, as a virtual machine's does",
            ("Run the worker there, or give the card back to hailo_pci on this host",),
        )
    return Trouble(
        f"hailo_pci {version} is loaded, but has not taken the card at {card.address}",
        (
            "Look at dmesg | grep hailo; usually the firmware /lib/firmware/hailo/hailo8_fw.bin is missing or of "
            "another version",
            f"Then: {RELOAD}",
        ),
    )
