"""What the host shows of its Hailo cards before anything opens one: bus, driver, device nodes, their users.

Everything is read below `root`, so that it can be another tree than the machine's own. Numbers and
names: PCI ids and sysfs of the open-source driver hailo_pci 4.20 to 4.23, which calls itself `hailo`
on the bus and tells in `board_location` which card a node belongs to.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path

VENDOR = "0x1e60"
HAILO_8 = "0x2864"
DRIVER = "hailo"
"""The name of Hailo's driver on the bus begins with this; another driver reserves the card for somebody else."""

NODE = re.compile(r"hailo\d+")
"""The name of a card's device node."""

NODES, FIRST_NODE = "/dev/hailo*", "/dev/hailo0"
"""What messages call such nodes, and the only one of a single card."""

NODE_CLASS = "sys/class/hailo_chardev"
"""Where the driver lists the nodes that it made; HailoRT looks for cards only there."""

OTHER_CHIP = "This worker drives Hailo-8 and Hailo-8L: use such a card"
"""What to do about a card with another chip; a sentence without its full stop."""

RELOAD = "sudo modprobe -r hailo_pci && sudo modprobe hailo_pci"
"""What loads the driver again, on the host."""

SMALL_PAGE = 4096
MAX_TRIES = 32


@dataclass(frozen=True, slots=True)
class Card:
    """A Hailo card on the PCI bus. `driver`: the one bound to it, "" for none."""

    address: str
    device: str
    driver: str
    folder: Path

    @property
    def is_hailo_8(self) -> bool:
        """True for Hailo-8 and Hailo-8L alike, which share one PCI id."""
        return self.device == HAILO_8

    @property
    def driven(self) -> bool:
        """Whether Hailo's driver is bound to it."""
        return self.driver.startswith(DRIVER)


def cards(root: Path = Path("/")) -> list[Card]:
    """The Hailo cards on the PCI bus; a container sees them as the host does."""
    found = []
    for folder in entries(root / "sys/bus/pci/devices"):
        if fact(folder / "vendor") == VENDOR:
            driver = folder / "driver"
            # A copy of a few files of /sys, as setup.sh makes it, has the link and not what it points to.
            name = driver.resolve().name if driver.is_symlink() or driver.exists() else ""
            found.append(Card(folder.name, fact(folder / "device"), name, folder))
    return found


def nodes(root: Path = Path("/")) -> list[Path]:
    """The device nodes that are here, /dev/hailo0 and on, by number."""
    found = [path for path in entries(root / "dev") if NODE.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name[5:]))


def locations(root: Path = Path("/")) -> dict[str, str]:
    """Name of every node that the driver made -> PCI address of its card, "" where it is unknown.

    A container sees those of all cards of the host, whether it was given the node or not.
    """
    found = {}
    for entry in entries(root / NODE_CLASS):
        device = entry / "device"
        found[entry.name] = fact(entry / "board_location") or (device.resolve().name if device.exists() else "")
    return found


def within_reach(root: Path = Path("/")) -> list[str]:
    """The PCI addresses of the cards whose nodes are here, by number of the node."""
    known = locations(root)
    return [known[node.name] for node in nodes(root) if known.get(node.name)]


def full_address(text: str) -> str:
    """A PCI address with its domain, which may be left out: 01:00.0 is 0000:01:00.0."""
    return text.lower() if text.count(":") > 1 else f"0000:{text.lower()}"


def id_choices(ids: Sequence[str], count: int, root: Path = Path("/")) -> list[list[str]]:
    """The sets of device ids to try in turn, as a card may be in use; [] leaves the choice to HailoRT.

    `ids`, `count`: what the settings ask for. HailoRT gives up at the first card that it cannot
    open, although another one would do (status 36), so where some cards have no node here it
    must be told which ones have.
    """
    there = within_reach(root)
    if ids or not there or len(there) == len(locations(root)):
        return [list(ids)]
    return [list(chosen) for chosen in islice(combinations(there, min(count, len(there))), MAX_TRIES)]


def driver_version(root: Path = Path("/")) -> str:
    """Version of the loaded driver, "" when none is loaded."""
    return fact(root / "sys/module/hailo_pci/version")


def large_pages(root: Path = Path("/"), page_size: int | None = None) -> int:
    """Bytes of a kernel page where the driver uses larger pages than the card supports; 0 where all is well."""
    size = os.sysconf("SC_PAGE_SIZE") if page_size is None else page_size
    told = fact(root / "sys/module/hailo_pci/parameters/force_desc_page_size")
    small = told.isdecimal() and 0 < int(told) <= SMALL_PAGE
    return 0 if size <= SMALL_PAGE or small else size


def board(root: Path = Path("/")) -> str:
    """The model name of a single-board computer, such as "Raspberry Pi 5 Model B"; "" for a PC."""
    return fact(root / "proc/device-tree/model").rstrip("\0")


def holders(root: Path = Path("/")) -> list[str]:
    """Processes that have a device node open, as far as this user may see: "process 1 (python3)"."""
    found = []
    for folder in entries(root / "proc"):
        if folder.name.isdecimal() and folder.name != str(os.getpid()):
            targets = (_target(link) for link in entries(folder / "fd"))
            if any(NODE.fullmatch(Path(target).name) and Path(target).parent.name == "dev" for target in targets):
                found.append(f"process {folder.name} ({fact(folder / 'comm') or 'unknown'})")
    return found


def fact(path: Path) -> str:
    """The content of a small file of /sys or /proc, "" where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def entries(folder: Path) -> list[Path]:
    """The entries of a folder, by name; none where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
