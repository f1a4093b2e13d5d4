"""Whether the host is ready for its Hailo cards, as far as can be checked before one is opened.

Used by the engine at start and by the doctor.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ml_target.engines.hailo.kernel import known_fault
from ml_target.engines.hailo.link import link
from ml_target.engines.hailo.status import PAGE_OPTION
from ml_target.hailort.driver import not_taken, unfit
from ml_target.system.cards import (
    FIRST_NODE,
    NODE_CLASS,
    OTHER_CHIP,
    VENDOR,
    Card,
    board,
    cards,
    driver_version,
    full_address,
    large_pages,
    locations,
    nodes,
    within_reach,
)
from ml_target.system.finding import Finding


def host_checks(
    root: Path = Path("/"),
    environment: Mapping[str, str] = os.environ,
    page_size: int | None = None,
    ids: Sequence[str] = (),
    count: int = 1,
) -> list[Finding]:
    """Bus, driver, nodes, permissions, sysfs, link, page size, log folder. Empty when there is no card at all.

    `ids`, `count`: the cards that the settings ask for. A fault of another card is only a note where a card is left.
    """
    found, opened = cards(root), nodes(root)
    if not found and not opened:
        return []
    return [
        *_bus(found),
        *_driver(root, found, ids),
        *_nodes(root, found, opened, ids),
        *_wanted(root, ids, count),
        *(finding for card in found if card.is_hailo_8 for finding in link(card)),
        *_pages(root, os.sysconf("SC_PAGE_SIZE") if page_size is None else page_size),
        *_log_folder(environment),
    ]


def _bus(found: list[Card]) -> Iterator[Finding]:
    for card in found:
        if card.is_hailo_8:
            yield Finding(True, "card", f"Hailo-8 or 8L at {card.address}")
        else:
            detail = f"a Hailo chip of another kind at {card.address} (PCI id {VENDOR[2:]}:{card.device[2:]})"
            served = any(other.is_hailo_8 for other in found)
            remedy = f"{OTHER_CHIP}, or ENGINE=cpu"
            yield Finding(None if served else False, "card", detail, remedy)
    if not found:
        yield Finding(None, "card", "none to be seen on the PCI bus, although there is a device node")


def _driver(root: Path, found: list[Card], ids: Sequence[str]) -> Iterator[Finding]:
    version = driver_version(root)
    ours = [card for card in found if card.is_hailo_8]
    if trouble := unfit(version):
        yield Finding(False, "driver", trouble.reason, trouble.remedy)
    elif version:
        asked = {full_address(each) for each in ids}
        others = [card for card in ours if not card.driven]
        if len(others) < len(ours) or not ours:
            yield Finding(True, "driver", f"hailo_pci {version}")
        yield from known_fault(root)
        for card in others:
            needed = len(others) == len(ours) or card.address in asked
            trouble = not_taken(card, version)
            yield Finding(False if needed else None, "driver", trouble.reason, trouble.remedy)
    elif (root / "sys/module/hailo_pci").exists():
        yield Finding(None, "driver", "hailo_pci is loaded and does not say its version")
    else:
        remedy = "On the host: sudo modprobe hailo_pci; install the driver (hailo-dkms) where that fails"
        yield Finding(False, "driver", "hailo_pci is not loaded", remedy)


def _nodes(root: Path, found: list[Card], opened: list[Path], ids: Sequence[str]) -> Iterator[Finding]:
    listed = locations(root)
    if not opened:
        wanted = next((f"/dev/{name}" for name in listed), FIRST_NODE)
        remedy = (
            f"In a container: pass --device={wanted} (compose: devices). On the host: reload the driver"
            if listed
            else f"Load the driver on the host first; then pass --device={wanted} to the container"
        )
        detail = f"no {FIRST_NODE}, though there are {len(found)} cards on the bus"
        if len(found) == 1:
            detail = f"no {FIRST_NODE}, though there is a card on the bus"
        yield Finding(False, "device node", detail, remedy, bars=True)
    asked = {full_address(each) for each in ids}
    for node in opened:
        name = f"/dev/{node.name}"
        needed = not asked or listed.get(node.name, "") in (*asked, "")
        if os.access(node, os.R_OK | os.W_OK):
            yield Finding(True, "device node", f"{name} can be read and written")
        else:
            detail = f"{name} may not be read and written by user {os.getuid()}"
            yield Finding(False if needed else None, "device node", detail, _access_remedy(node), bars=needed)
        if node.name not in listed:
            remedy = (
                "Give the container an unmasked /sys; without this entry HailoRT says there is no device"
                if (root / "sys").is_dir()
                else "Mount /sys into the container"
            )
            detail = f"/{NODE_CLASS}/{node.name} is not visible"
            yield Finding(False, "sysfs", detail, remedy)


def _wanted(root: Path, ids: Sequence[str], count: int) -> Iterator[Finding]:
    """Whether the cards that the settings ask for are reachable, and which of the host's cards are not."""
    listed, there = locations(root), within_reach(root)
    if not there:
        return
    apart = {address: name for name, address in listed.items() if address and address not in there}
    for each in ids:
        address = full_address(each)
        if address in apart:
            detail = f"HAILO_DEVICE_IDS names {each}, whose node /dev/{apart[address]} is not here"
            remedy = f"Pass --device=/dev/{apart[address]} to the container, too"
            yield Finding(False, "cards", detail, remedy, bars=True)
        elif address not in there:
            detail = f"HAILO_DEVICE_IDS names {each}, where there is no card"
            yield Finding(False, "cards", detail, f"Name one of these, or none: {', '.join(there)}", bars=True)
    if not ids and count > len(there):
        remedy = f"Pass the nodes of {count} cards to the container, or set HAILO_DEVICE_COUNT={len(there)}"
        detail = f"HAILO_DEVICE_COUNT={count}, and {len(there)} device nodes are here"
        yield Finding(False, "cards", detail, remedy, bars=True)
    elif apart and not ids:
        others = ", ".join(f"{address} (/dev/{name})" for address, name in apart.items())
        yield Finding(None, "cards", f"of the host's cards {', '.join(there)} is used; no node is here for {others}")


def _access_remedy(node: Path) -> str:
    """For a device node that this user may not use. Joining its group helps only if the group may read and write."""
    facts = node.stat()
    rule = 'a udev rule SUBSYSTEM=="hailo_chardev", MODE="0666"'
    if facts.st_mode & 0o060 == 0o060:
        return (
            f"Container: --group-add {facts.st_gid}. Host: sudo usermod -aG {facts.st_gid} USER and log in again, or "
            + rule
        )
    mode = f"{stat.S_IMODE(facts.st_mode):o}"
    return f"Its mode {mode} lets no group in. On the host: {rule}; until the next boot sudo chmod 666 /dev/{node.name}"


def _pages(root: Path, page_size: int) -> Iterator[Finding]:
    if page_size <= 4096:
        return
    detail = f"the kernel's pages have {page_size // 1024} KiB"
    if not large_pages(root, page_size):
        yield Finding(True, "page size", f"{detail}, the driver is told to use 4 KiB")
        return
    remedy = (
        f"If a network cannot be put on the card (status 8, or a max_desc_page_size in the log): {PAGE_OPTION}, and "
        "load the driver again"
    )
    yield Finding(None, "page size", detail + (f" ({board(root)})" if board(root) else ""), remedy)


def _log_folder(environment: Mapping[str, str]) -> Iterator[Finding]:
    wanted = environment.get("HAILORT_LOGGER_PATH", "")
    folder = Path(wanted or ".")
    if wanted == "NONE":
        return
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        named = f"HAILORT_LOGGER_PATH={wanted}" if wanted else "the current folder"
        remedy = "Set HAILORT_LOGGER_PATH to a folder that can be written, or to NONE, before the worker starts"
        yield Finding(None, "log of HailoRT", f"{named} cannot be written: it complains at every start", remedy)
