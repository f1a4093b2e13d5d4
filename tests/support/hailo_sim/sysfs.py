"""A root folder that looks like a computer with Hailo cards, as far as checks before opening look (hailort.md §8.1)."""

import os
from pathlib import Path

FULL_SPEED = "8.0 GT/s PCIe"


def make_root(
    root: Path,
    *,
    driver: str | None = "4.23.0",
    bound: bool = True,
    cards: int = 1,
    nodes: int | None = None,
    node_mode: int = 0o666,
    speed: str = FULL_SPEED,
    width: int = 4,
    max_width: int = 4,
    chip_id: str = "0x2864",
    class_visible: bool = True,
    page_option: int = 0,
) -> Path:
    """Writes `sys` and `dev` below `root`.

    `driver`: version of the loaded module, None for no module. `bound`: whether it took the
    cards. `nodes`: device nodes (as many as cards), plain files that stand for them.
    `class_visible`: a container with a masked /sys shows no class. `page_option`: the module's
    force_desc_page_size.
    """
    sys, dev = root / "sys", root / "dev"
    dev.mkdir(parents=True)
    if driver is not None:
        module = sys / "module" / "hailo_pci"
        _write(module, {"version": driver})
        _write(module / "parameters", {"force_desc_page_size": str(page_option), "no_power_mode": "N"})
        (sys / "bus" / "pci" / "drivers" / "hailo").mkdir(parents=True)
    for number in range(cards):
        address = f"0000:{number + 1:02x}:00.0"
        slot = sys / "bus" / "pci" / "devices" / address
        facts = {"vendor": "0x1e60", "device": chip_id, "current_link_speed": speed, "max_link_speed": FULL_SPEED}
        _write(slot, facts | {"current_link_width": str(width), "max_link_width": str(max_width)})
        if driver is None or not bound:
            continue
        _link(slot / "driver", sys / "bus" / "pci" / "drivers" / "hailo")
        if class_visible:
            entry = sys / "class" / "hailo_chardev" / f"hailo{number}"
            _write(entry, {"board_location": address, "device_id": f"1e60:{chip_id[2:]}", "dev": f"235:{number}"})
            _link(entry / "device", slot)
    for number in range(cards if nodes is None else nodes):
        node = dev / f"hailo{number}"
        node.touch()
        node.chmod(node_mode)
    return root


def _write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")


def _link(link: Path, target: Path) -> None:
    """Relative as in the kernel's tree, so that it can be mounted elsewhere."""
    link.symlink_to(os.path.relpath(target, link.parent))
