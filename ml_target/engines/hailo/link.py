"""How fast the PCIe link of a card is, and how fast it could be."""

import re
from collections.abc import Iterator

from ml_target.system.cards import Card, fact
from ml_target.system.finding import Finding


def link(card: Card) -> Iterator[Finding]:
    """Speed and width of the card's link, and what a link slower than the card's costs."""
    now = (fact(card.folder / "current_link_speed"), fact(card.folder / "current_link_width"))
    best = (fact(card.folder / "max_link_speed"), fact(card.folder / "max_link_width"))
    have, could = bandwidth(*now), bandwidth(*best)
    if not have or not could:
        yield Finding(None, "PCIe link", "speed and width are unknown", looked=False)
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


def bandwidth(speed: str, width: str) -> float:
    """GB/s of a PCIe link such as ("8.0 GT/s PCIe", "4"), less the line code; 0 if it is unknown."""
    found = re.match(r"\d+(\.\d+)?", speed)
    if found is None or not width.isdecimal():
        return 0.0
    transfers = float(found.group())
    return transfers * (0.8 if transfers <= 5 else 128 / 130) * int(width) / 8
