"""The host, the card, its device nodes, its driver: may the worker use them?"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_target.hailort.driver import not_taken, plain, unfit
from ml_target.hailort.packages import DEBIAN_NAMES
from ml_target.setup.facts import Facts, Node
from ml_target.setup.steps import Refusal
from ml_target.system.cards import (
    FIRST_NODE,
    NODES,
    OTHER_CHIP,
    RELOAD,
    Card,
    cards,
    driver_version,
    full_address,
    locations,
)

SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
ON_CPU = "Without a card, on the processor: ./setup.sh --cpu"
PI_64 = "On a Raspberry Pi install the 64-bit system: HailoRT has no package for another one."


@dataclass(frozen=True, slots=True)
class Using:
    """What the worker gets of the card. `driver`: its version; `nodes`: their paths; `groups`: whose they are."""

    driver: str
    nodes: tuple[str, ...]
    groups: tuple[str, ...]
    words: str = ""

    @property
    def options(self) -> list[str]:
        """Of docker run."""
        return [f"--device={node}:{node}" for node in self.nodes] + [f"--group-add={group}" for group in self.groups]


def machine(told: str, docker: str) -> str:
    """The machine as Python names it: x86_64 or aarch64. `told`: by uname; `docker`: its server's architecture."""
    name = {"amd64": "x86_64", "arm64": "aarch64"}.get(told, told)
    if name not in DEBIAN_NAMES:
        raise Refusal(f"this machine is {told}; the worker runs on x86_64 and aarch64.", PI_64)
    # A 32-bit system on a 64-bit kernel, as Raspberry Pi OS has it, builds and runs images of 32 bits.
    if docker in ("amd64", "arm64", "arm", "armhf", "armel", "386") and docker != DEBIAN_NAMES[name]:
        raise Refusal(
            f"this machine is {told}, but the Docker on it is for {docker}: the system on it is of another kind "
            "than its kernel.",
            f"{PI_64} (getconf LONG_BIT then says 64.)",
        )
    return name


def check(facts: Facts, settings: Mapping[str, str]) -> Using:
    """Raises Refusal for a card that cannot be used, with what to do about it."""
    chips = cards(facts.root)
    there = [card for card in chips if card.is_hailo_8]
    if not there and not facts.nodes:
        if chips:
            raise Refusal(
                f"there is a Hailo chip of another kind at {chips[0].address}.",
                f"{OTHER_CHIP}.",
                ON_CPU,
            )
        raise Refusal("this machine has no Hailo card.", "Seat the card and look at: lspci -d 1e60:", ON_CPU)
    at = f" at {there[0].address}" if there else ""
    if not (facts.root / "sys/module/hailo_pci").is_dir():
        raise _not_loaded(facts, at)
    driver = _driver(facts)
    if there and not any(card.driven for card in there):
        trouble = not_taken(next((card for card in there if not card.driver), there[0]), driver)
        raise Refusal(f"{trouble.reason}.", *trouble.remedies)
    if not facts.nodes:
        raise Refusal(
            f"there is no {FIRST_NODE}, though the driver is loaded.",
            f"Load it again: {RELOAD}",
            "Then look at: dmesg | grep hailo",
        )
    nodes = _choose(facts, there, settings)
    for node in nodes:
        _require_usable(node)
    paths = tuple(node.path for node in nodes)
    words = f"Hailo-8 or 8L{at}, hailo_pci {driver}, {' '.join(paths)}"
    return Using(driver, paths, tuple(dict.fromkeys(node.group for node in nodes)), words)


def _not_loaded(facts: Facts, at: str) -> Refusal:
    signed = (
        'Secure Boot is on: a driver that is not signed is refused ("Key was rejected by service").',
        "Enrol the key that DKMS signs with: sudo mokutil --import /var/lib/dkms/mok.pub (Ubuntu:",
        "/var/lib/shim-signed/mok/MOK.der), boot and confirm it; or turn Secure Boot off in the firmware's setup.",
    )
    return Refusal(
        f"there is a Hailo card{at}, but hailo_pci is not loaded.",
        "Run: sudo modprobe hailo_pci",
        "Where there is no such module, install the driver of branch 4 (hailo-dkms, or hailort-pcie-driver from the",
        f"Hailo Developer Zone; on Unraid the HailoRT driver app), for the kernel that runs: {facts.kernel}",
        *(signed if secure_boot(facts.root) else ()),
    )


def secure_boot(root: Path) -> bool:
    """Is it on: the fifth byte of the firmware's variable says so."""
    try:
        return (root / SECURE_BOOT).read_bytes()[4:5] == b"\1"
    except OSError:
        return False


def _driver(facts: Facts) -> str:
    """What the kernel says, or HAILORT_VERSION where it says nothing."""
    told = facts.given("HAILORT_VERSION")
    version = driver_version(facts.root) or told
    if not version:
        raise Refusal(
            "hailo_pci is loaded and does not say its version.",
            "Find it (modinfo hailo_pci, or the name of the package you installed), then: HAILORT_VERSION=4.23.0 "
            "./setup.sh",
        )
    if not re.match(r"\d+\.\d+\.\d+", version):
        raise Refusal(
            f"'{version}' is not a version of the driver hailo_pci.", "Set it as in: HAILORT_VERSION=4.23.0 ./setup.sh"
        )
    driver = plain(version)
    if trouble := unfit(driver):
        raise Refusal(f"{trouble.reason}.", *trouble.remedies, "Then run this again.")
    if told and told != driver:
        raise Refusal(
            f"HAILORT_VERSION={told}, but the driver is {driver}: the card will refuse (status 76).",
            f"Leave HAILORT_VERSION out, or install the driver {told} on this host.",
        )
    return driver


def _choose(facts: Facts, there: Sequence[Card], settings: Mapping[str, str]) -> list[Node]:
    """The first node, as many as the settings want, or those of the cards that they name."""
    count, ids = settings.get("HAILO_DEVICE_COUNT", ""), settings.get("HAILO_DEVICE_IDS", "")
    if not ids and (count or "1") == "1":
        return [facts.nodes[0]]
    known, at = [card.address for card in there], locations(facts.root)
    chosen: list[Node] = []
    for given in filter(None, ids.split(",")):
        address = full_address(given)
        if known and address not in known:
            raise Refusal(
                f"HAILO_DEVICE_IDS={ids}, but there is no Hailo-8 at {given}.",
                f"Name one of these, or none: {' '.join(known)}",
                "To take the first one again: HAILO_DEVICE_IDS= ./setup.sh",
            )
        chosen += [node for node in facts.nodes if at.get(Path(node.path).name) == address]
    if not chosen:  # counted, or by a driver that does not tell: HailoRT looks for its own
        chosen = list(facts.nodes)
    if not ids and re.fullmatch("[0-9]{1,3}", count) and int(count) > len(chosen):
        raise Refusal(
            f"HAILO_DEVICE_COUNT={count}, and there are only {len(chosen)} of {NODES}.",
            "Set it to what there is, or leave it out: HAILO_DEVICE_COUNT= ./setup.sh",
        )
    return chosen


def _require_usable(node: Node) -> None:
    """The worker is a user of its own, in the group of the node."""
    if node.mode & 0o060 != 0o060:
        raise Refusal(
            f"{node.path} has mode {node.mode:o}: its group may not read and write it, and so no container's user.",
            "Give it to everyone, as Hailo's own udev rule does:",
            'echo \'SUBSYSTEM=="hailo_chardev", MODE="0666"\' | sudo tee /etc/udev/rules.d/51-hailo-udev.rules',
            "sudo udevadm control --reload-rules && sudo udevadm trigger",
            f"Where there is no udev to keep it (Unraid), at each boot: chmod 666 {node.path}",
        )
