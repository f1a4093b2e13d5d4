"""What the report says about the card as the kernel sees it: bus, link, nodes, the driver and its lines in the log."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from ml_target.diagnostics.report.section import Section
from ml_target.system.cards import FIRST_NODE, NODE_CLASS, Card, cards, driver_version, holders, nodes
from ml_target.system.kernel_log import Message, kernel_messages

ATTRIBUTES = (
    "vendor", "device", "subsystem_vendor", "subsystem_device", "revision", "class", "enable", "power_state",
    "current_link_speed", "current_link_width", "max_link_speed", "max_link_width", "numa_node", "irq",
    "power/control", "power/runtime_status", "reset_method", "aer_dev_correctable", "aer_dev_nonfatal",
    "aer_dev_fatal",
)  # fmt: skip
FIRMWARE = ("lib/firmware/hailo/hailo8_fw.bin", "lib/firmware/updates/hailo/hailo8_fw.bin")
KERNEL_LINES = 60

OF_THE_DRIVER = re.compile(r"\bhailo(_pci|\d+)?\b", re.IGNORECASE)
"""Not libhailort, which the kernel names when a program crashes in it."""


def card(root: Path = Path("/")) -> Section:
    """The cards on the bus, their nodes with permissions, the driver with its parameters, and who holds them open."""
    found, opened = cards(root), nodes(root)
    lines = [line for each in found for line in _card(each)] or ["no Hailo card on the PCI bus"]
    lines += [_node(node) for node in opened] or [f"no {FIRST_NODE} or other node"]
    listed = [path.name for path in _entries(root / NODE_CLASS)]
    lines.append(f"sysfs          hailo_chardev: {', '.join(listed) or 'no entry'}")
    lines.append(f"driver         {driver_version(root) or 'hailo_pci is not loaded'}")
    module = root / "sys/module/hailo_pci"
    for parameter in _entries(module / "parameters"):
        lines.append(f"  parameter    {parameter.name} = {_read(parameter)}")
    if source := _read(module / "srcversion"):
        lines.append(f"  srcversion   {source}")
    for name in FIRMWARE:
        if (root / name).is_file():
            lines.append(f"firmware file  /{name}, {(root / name).stat().st_size} bytes")
    lines.append(f"held by        {', '.join(holders(root)) or 'nobody that this user can see'}")
    return Section("Card", "\n".join(lines), most=4500)


def kernel_log(root: Path = Path("/")) -> Section:
    """The kernel's lines about the driver, the card's PCI address, and Python running out of memory."""
    title = "Kernel log"
    try:
        messages = [_line(message) for message in kernel_messages(root)]
    except OSError as error:
        why = "may not be read here" if error.errno in (errno.EPERM, errno.EACCES) else f"{error.strerror}"
        return Section(title, f"{why}. On the host: sudo dmesg | grep -iE 'hailo|oom-kill'")
    addresses = [each.address.lower() for each in cards(root)]
    wanted = [line for line in messages if _concerns(line.lower(), addresses)]
    errors = [line for line in wanted if OF_THE_DRIVER.search(line) and re.search("error|fail", line, re.IGNORECASE)]
    count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
    wrong = [f"the kernel log has {count} of the driver, the last: {errors[-1].strip()}"] if errors else []
    text = "\n".join(wanted[-KERNEL_LINES:]) or f"nothing about the card in {len(messages)} lines"
    return Section(title, text, wrong, most=5000, keep_end=True)


def _card(card: Card) -> Iterator[str]:
    yield f"card           {card.address}, driver {card.driver or 'none'}"
    for name in ATTRIBUTES:
        value = _read(card.folder / name)
        if name.startswith("aer_"):
            value = ", ".join(line for line in value.splitlines() if not line.endswith(" 0"))
        if value:
            yield f"  {name:28} {value}"
    if (card.folder / "iommu_group").exists():
        yield f"  {'iommu_group':28} {(card.folder / 'iommu_group').resolve().name}"


def _node(node: Path) -> str:
    try:
        facts = node.stat()
    except OSError as error:
        return f"node           /dev/{node.name}: {error.strerror}"
    may = "can be read and written here" if os.access(node, os.R_OK | os.W_OK) else "CANNOT be read and written here"
    kind = f"device {os.major(facts.st_rdev)}:{os.minor(facts.st_rdev)}" if stat.S_ISCHR(facts.st_mode) else "NO DEVICE"
    mode = f"{stat.S_IMODE(facts.st_mode):o}"
    return f"node           /dev/{node.name}: {kind}, mode {mode}, owner {facts.st_uid}, group {facts.st_gid}; {may}"


def _line(message: Message) -> str:
    at = f"{'':12}" if message.seconds is None else f"{message.seconds:12.3f}"
    return f"{at}  {message.text}"


def _concerns(line: str, addresses: list[str]) -> bool:
    if "hailo" in line or any(address in line for address in addresses):
        return True
    return "python" in line and ("oom-kill" in line or "out of memory" in line or "segfault" in line)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return ""
