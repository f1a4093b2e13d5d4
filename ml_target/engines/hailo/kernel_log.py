"""What the kernel's log says about the card, and what helps.

The words are those of the open-source driver hailo_pci 4.20 to 4.23 (pcie.c, fops.c, nnc.c, memory.c, vdma_common.c)
and of the kernel's own parts: firmware loader, module loader, AER, IOMMU.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ml_target.system.cards import RELOAD, cards
from ml_target.system.finding import Finding
from ml_target.system.kernel_log import kernel_messages

DMESG = "sudo dmesg | grep -iE 'hailo|AER|DMAR|IO_PAGE_FAULT'"
LOADED = re.compile(r"\bhailo\w*: Init module")
"""The driver's first line. Whatever comes before the last one is from an earlier load of the driver."""

POWER = "power the host off and on"


@dataclass(frozen=True, slots=True)
class Words:
    """`pattern`: found in a log line. `near`: only if the line also names the driver or the card's address."""

    pattern: str
    meaning: str
    remedy: str
    near: bool = True


TABLE = (
    Words(
        r"Device disconnected while",
        "the card has fallen off the bus",
        "Reboot the host; loading the driver again is not enough. If it comes back: slot, adapter and power of the "
        "card, and another version of the driver",
    ),
    Words(
        r"Failed reading device BARs|config space inaccessible|Unable to change power state from D3cold",
        "the card does not answer on the bus",
        f"Seat it again, look at the power of its adapter, and {POWER}",
    ),
    Words(
        r"Direct firmware load for hailo/\S+ failed|Firmware file not found",
        "the firmware's file is not there",
        f"Install the driver's whole package (/lib/firmware/hailo/hailo8_fw.bin comes with it), then {RELOAD}",
    ),
    Words(
        r"Failed to enable MSI|request_irq failed",
        "the card is given no interrupt, as behind some PCIe switches",
        "Put it into a slot of the board itself; on a Raspberry Pi bring kernel and bootloader up to date",
    ),
    Words(
        r"Failed writing NNC firmware files|Timeout waiting for NNC firmware file|Firmware load failed",
        "the firmware could not be put on the card",
        f"Install driver and firmware of one version, then {POWER}",
    ),
    Words(
        r"hailo_fw_control, timeout waiting for control",
        "the firmware does not answer",
        f"{RELOAD}, or {POWER}",
    ),
    Words(
        r"Error enabling dma",
        "the host gives the card no memory to reach",
        "Look at IOMMU and Above 4G Decoding in the board's setup",
    ),
    Words(
        r"force_desc_page_size",
        "the driver's option force_desc_page_size has a value that it does not take",
        "Set it to 4096 in /etc/modprobe.d/hailo_pci.conf, or leave it out; then load the driver again",
    ),
    Words(
        r"not a sufficient amount of CMA memory",
        "the kernel had no contiguous memory for the card",
        "Free memory, or raise cma= on the kernel's command line",
    ),
    Words(
        r"get_user_pages failed|Pinned \d+ out of|sg table alloc failed|failed to (map|set) sg list",
        "the host could not give the card the memory of a transfer",
        "Free memory on the host, or load fewer models",
        near=False,
    ),
    Words(
        r"hailo_vdma_buffer_map\+",
        "the driver looks memory up without the lock that this kernel demands",
        "Install driver and HailoRT 4.22.0, or a kernel older than 6.12, before the card is lost",
        near=False,
    ),
    Words(
        r"hw state out of sync|Error on channel \d+: src|waiting for channel to become idle",
        "transfers between host and card failed",
        f"Restart the worker; if it comes back, {POWER}",
        near=False,
    ),
    Words(
        r"PCIe Bus Error|AER: .*[Ee]rror",
        "the link to the card has errors",
        "Seat card, cable and adapter again; a slower link may hold (on a Raspberry Pi 5 dtparam=pciex1_gen=2), and so "
        "may pcie_aspm=off on the kernel's command line",
    ),
    Words(
        r"DMAR: .*(fault|Request device)|IO_PAGE_FAULT|smmu.*fault",
        "the IOMMU refused the card's access to memory",
        "Boot with iommu=pt on the kernel's command line, and install the newest driver of branch 4",
    ),
    Words(
        r"[Kk]ey was rejected|Loading of (unsigned module|module with unavailable key) is rejected",
        "Secure Boot refused the driver, which is not signed",
        "Enrol the key that DKMS signs with (sudo mokutil --import /var/lib/dkms/mok.pub), or turn Secure Boot off",
    ),
    Words(
        r"version magic|disagrees about version of symbol|Unknown symbol",
        "the driver was built for another kernel",
        "Install the headers of this kernel and build it again: sudo dkms autoinstall",
    ),
    Words(
        r"probe (of \S+ failed|with driver \S+ failed)",
        "the driver could not take the card",
        f"Look at the lines before it ({DMESG}), then {POWER}",
    ),
)


def kernel_words(root: Path = Path("/")) -> list[Finding] | None:
    """One note for each fault in the kernel's log since the driver was loaded; None if the log may not be read."""
    try:
        lines = [message.text for message in kernel_messages(root)]
    except OSError:
        return None
    start = max((at for at, line in enumerate(lines) if LOADED.search(line)), default=0)
    addresses = [part for card in cards(root) for part in (card.address, card.address.partition(":")[2])]
    return list(_trouble(lines[start:], addresses))


def _trouble(lines: list[str], addresses: list[str]) -> Iterator[Finding]:
    for words in TABLE:
        met = [
            line
            for line in lines
            if re.search(words.pattern, line)
            and (not words.near or "hailo" in line.lower() or any(address in line for address in addresses))
        ]
        if met:
            times = f", {len(met)} times" if len(met) > 1 else ""
            yield Finding(None, "kernel log", f"{words.meaning}{times}: {met[-1].strip()[:200]}", words.remedy)
