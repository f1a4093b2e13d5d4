"""What the host says about a Hailo card before anything opens it: bus, driver, device nodes, link, memory.

Everything is read below `root`, so that it can be another tree than the machine's own. Numbers:
PCI ids and sysfs names of the open-source driver hailo_pci 4.20 to 4.23.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ml_target.runtime.cgroups import memory_left

VENDOR = "0x1e60"
HAILO_8 = "0x2864"
NODE = re.compile(r"hailo\d+")
GIB = 1 << 30
SMALL_PAGE = 4096
PAGE_OPTION = "options hailo_pci force_desc_page_size=4096"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `ok` None: neither right nor wrong, but worth knowing. `remedy`: "" for none."""

    ok: bool | None
    what: str
    detail: str
    remedy: str = ""


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


def cards(root: Path = Path("/")) -> list[Card]:
    """The Hailo cards on the PCI bus; a container sees them as the host does."""
    found = []
    for folder in _entries(root / "sys/bus/pci/devices"):
        if _read(folder / "vendor") == VENDOR:
            driver = folder / "driver"
            name = driver.resolve().name if driver.exists() else ""
            found.append(Card(folder.name, _read(folder / "device"), name, folder))
    return found


def nodes(root: Path = Path("/")) -> list[Path]:
    """The device nodes, /dev/hailo0 and on."""
    return [path for path in _entries(root / "dev") if NODE.fullmatch(path.name)]


def driver_version(root: Path = Path("/")) -> str:
    """Version of the loaded driver, "" when none is loaded."""
    return _read(root / "sys/module/hailo_pci/version")


def holders(root: Path = Path("/")) -> list[str]:
    """Processes that have a device node open, as far as this user may see: "process 1 (python3)"."""
    found = []
    for folder in _entries(root / "proc"):
        if folder.name.isdecimal() and folder.name != str(os.getpid()):
            targets = (_target(link) for link in _entries(folder / "fd"))
            if any(NODE.fullmatch(Path(target).name) and Path(target).parent.name == "dev" for target in targets):
                found.append(f"process {folder.name} ({_read(folder / 'comm') or 'unknown'})")
    return found


def host_checks(
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
    page_size: int | None = None,
) -> list[Finding]:
    """Bus, driver, nodes, permissions, sysfs, link, page size, log folder. Empty when there is no card at all."""
    found, opened = cards(root), nodes(root)
    if not found and not opened:
        return []
    return [
        *_bus(found),
        *_driver(root, found),
        *_nodes(root, found, opened),
        *(finding for card in found if card.is_hailo_8 for finding in _link(card)),
        *_pages(root, os.sysconf("SC_PAGE_SIZE") if page_size is None else page_size),
        *_log_folder(environment),
    ]


def memory_check(needed: int, root: Path = Path("/")) -> Finding:
    """Whether the weights, `needed` bytes, find room: HailoRT pins at least a HEF's size in host memory for each."""
    free = re.search(r"MemAvailable:\s+(\d+) kB", _read(root / "proc/meminfo"))
    left = memory_left(root)
    if free is None:
        return Finding(None, "memory", f"{needed / GIB:.2f} GiB are needed for weights; what is free cannot be told")
    available = int(free.group(1)) * 1024
    bound = ""
    if left is not None and left < available:
        available, bound = int(left), " within the container's limit"
    detail = f"{needed / GIB:.2f} GiB for weights, {available / GIB:.1f} GiB free{bound}"
    if needed <= available:
        return Finding(True, "memory", detail)
    remedy = "Free memory or raise the container's limit; or load fewer models: CLIP_BACKEND with one name"
    return Finding(False, "memory", detail, remedy)


# -------------------------------------------------------------------- checks


def _bus(found: list[Card]) -> Iterator[Finding]:
    for card in found:
        if card.is_hailo_8:
            yield Finding(True, "card", f"Hailo-8 or 8L at {card.address}")
        else:
            detail = f"a Hailo chip of another kind at {card.address} (PCI id {VENDOR[2:]}:{card.device[2:]})"
            served = any(other.is_hailo_8 for other in found)
            remedy = "This worker drives Hailo-8 and Hailo-8L: use such a card, or ENGINE=cpu"
            yield Finding(None if served else False, "card", detail, remedy)
    if not found:
        yield Finding(None, "card", "none to be seen on the PCI bus, although there is a device node")


def _driver(root: Path, found: list[Card]) -> Iterator[Finding]:
    version = driver_version(root)
    ours = [card for card in found if card.is_hailo_8]
    if re.match(r"[5-9]|\d\d", version):
        remedy = "Install the driver of branch 4 (hailo-dkms 4.23 or so): the one for Hailo-10 and 15 does not bind it"
        yield Finding(False, "driver", f"hailo_pci {version} is loaded, which does not drive a Hailo-8", remedy)
    elif version and all(card.driver for card in ours):
        yield Finding(True, "driver", f"hailo_pci {version}")
    elif version:
        detail = f"hailo_pci {version} is loaded, but has not taken the card at {ours[0].address}"
        remedy = (
            "Look at dmesg | grep hailo; mostly the firmware /lib/firmware/hailo/hailo8_fw.bin is missing or of "
            "another version. Then: sudo modprobe -r hailo_pci && sudo modprobe hailo_pci"
        )
        yield Finding(False, "driver", detail, remedy)
    elif (root / "sys/module/hailo_pci").exists():
        yield Finding(None, "driver", "hailo_pci is loaded and does not tell its version")
    else:
        remedy = "On the host: sudo modprobe hailo_pci; install the driver (hailo-dkms) where that fails"
        yield Finding(False, "driver", "hailo_pci is not loaded", remedy)


def _nodes(root: Path, found: list[Card], opened: list[Path]) -> Iterator[Finding]:
    listed = [path.name for path in _entries(root / "sys/class/hailo_chardev")]
    if not opened:
        remedy = (
            "In a container: pass --device=/dev/hailo0 (compose: devices). On the host: reload the driver"
            if listed
            else "Load the driver on the host first; then pass --device=/dev/hailo0 to the container"
        )
        yield Finding(False, "device node", f"no /dev/hailo0, though there are {len(found)} cards on the bus", remedy)
    for node in opened:
        name = f"/dev/{node.name}"
        if os.access(node, os.R_OK | os.W_OK):
            yield Finding(True, "device node", f"{name} can be read and written")
        else:
            remedy = _way_in(node)
            yield Finding(False, "device node", f"{name} may not be read and written by user {os.getuid()}", remedy)
        if node.name not in listed:
            remedy = (
                "Give the container an unmasked /sys; without this entry HailoRT says there is no device"
                if (root / "sys").is_dir()
                else "Mount /sys into the container"
            )
            detail = f"/sys/class/hailo_chardev/{node.name} is not visible"
            yield Finding(False, "sysfs", detail, remedy)


def _way_in(node: Path) -> str:
    """To a device node that this user may not use. Its group helps only where it may read and write."""
    facts = node.stat()
    rule = 'a udev rule SUBSYSTEM=="hailo_chardev", MODE="0666"'
    if facts.st_mode & 0o060 == 0o060:
        return (
            f"Container: --group-add {facts.st_gid}. Host: sudo usermod -aG {facts.st_gid} USER and log in again, or "
            + rule
        )
    mode = f"{stat.S_IMODE(facts.st_mode):o}"
    return f"Its mode {mode} lets no group in. On the host: {rule}; until the next boot sudo chmod 666 /dev/{node.name}"


def _link(card: Card) -> Iterator[Finding]:
    now = (_read(card.folder / "current_link_speed"), _read(card.folder / "current_link_width"))
    best = (_read(card.folder / "max_link_speed"), _read(card.folder / "max_link_width"))
    have, could = _bandwidth(*now), _bandwidth(*best)
    if not have or not could:
        yield Finding(None, "PCIe link", "speed and width cannot be told")
        return
    detail = f"{now[0]} x{now[1]}, {have:.1f} GB/s"
    if have >= could * 0.99:
        yield Finding(True, "PCIe link", detail)
        return
    remedy = (
        f"The card can do {best[0]} x{best[1]}. Networks that do not fit on the chip load their weights over this link "
        f"for every burst, which takes {could / have:.1f} times as long here. Use a slot with more lanes; on a "
        "Raspberry Pi 5 set dtparam=pciex1_gen=3 in config.txt"
    )
    yield Finding(None, "PCIe link", f"{detail}, of {could:.1f} possible", remedy)


def _pages(root: Path, page_size: int) -> Iterator[Finding]:
    if page_size <= SMALL_PAGE:
        return
    detail = f"the kernel's pages have {page_size // 1024} KiB"
    if _read(root / "sys/module/hailo_pci/parameters/force_desc_page_size") == str(SMALL_PAGE):
        yield Finding(True, "page size", f"{detail}, the driver is told to use 4 KiB")
        return
    model = _read(root / "proc/device-tree/model").rstrip("\0")
    remedy = (
        f"If the card cannot be opened (status 84, or a descriptor page size in the log): {PAGE_OPTION} in "
        "/etc/modprobe.d/hailo_pci.conf and load the driver again"
    )
    yield Finding(None, "page size", detail + (f" ({model})" if model else ""), remedy)


def _log_folder(environment: Mapping[str, str]) -> Iterator[Finding]:
    wanted = environment.get("HAILORT_LOGGER_PATH", "")
    folder = Path(wanted or ".")
    if wanted == "NONE":
        return
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        named = f"HAILORT_LOGGER_PATH={wanted}" if wanted else "the current folder"
        remedy = "Set HAILORT_LOGGER_PATH to a folder that can be written, or to NONE, before the worker starts"
        yield Finding(None, "log of HailoRT", f"{named} cannot be written: it complains at every start", remedy)


def _bandwidth(speed: str, width: str) -> float:
    """GB/s of a PCIe link such as ("8.0 GT/s PCIe", "4"), line code taken off; 0 where it cannot be told."""
    found = re.match(r"\d+(\.\d+)?", speed)
    if found is None or not width.isdecimal():
        return 0.0
    transfers = float(found.group())
    return transfers * (0.8 if transfers <= 5 else 128 / 130) * int(width) / 8


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
