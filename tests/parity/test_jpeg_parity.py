"""JPEG decoded the quick way equals Pillow's, or is left to Pillow: real photos, and thousands of damaged files.

The fast tests in tests/unit/test_turbojpeg.py look at each kind of file; these look for the kind nobody thought of.
"""

import random
from collections import Counter
from pathlib import Path

import parity_table as parity
import pytest
from jpeg_sides import outcome
from jpegs import damaged, kinds, others

PIECES, EACH = 4, 1000


def test_photos_go_the_quick_way(photos: Path) -> None:
    files = sorted(photos.glob("*.jpg"))
    seen = Counter(outcome(file.read_bytes()) for file in files)
    parity.record(
        "JPEG, against Pillow", "photos decoded the quick way, every pixel equal", seen["quick"], f"{len(files)}"
    )
    assert seen == {"quick": len(files)}


@pytest.mark.parametrize("seed", range(PIECES))
def test_damaged_files_are_taken_and_refused_as_by_pillow(seed: int) -> None:
    """Once or twice damaged, each in another way."""
    chance = random.Random(seed)
    files = [
        data
        for size in ((97, 61), (160, 120), (33, 200))
        for quality in (30, 88)
        for make in (kinds, others)
        for data in make(*size, quality).values()
    ]
    seen: Counter[str] = Counter()
    for _ in range(EACH):
        data = damaged(chance.choice(files), chance)
        if b"\xff\xda" in data and chance.random() < 0.2:
            data = _once_more(data, chance)
        seen[outcome(data)] += 1
    parity.record(
        "JPEG, against Pillow",
        f"{EACH} damaged files: quick and equal, left to Pillow",
        f"{seen['quick']}, {seen['left']}",
        "none wrong",
    )
    assert min(seen["quick"], seen["left"]) > EACH // 10


def _once_more(data: bytes, chance: random.Random) -> bytes:
    """What is too damaged to be looked at stays as it is."""
    try:
        return damaged(data, chance)
    except (ValueError, IndexError):
        return data
