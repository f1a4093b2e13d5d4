"""The official worker's way to read a page, and this worker's on the simulated card, side by side on one set of pages.

Official: RapidOCR's processing at free sizes, as Immich's own worker sets it up. Ours: the Hailo engine on a simulated
card, the same networks at their fixed sizes with outputs in bytes. Device times are computed from the bursts that the
card saw and the times that measured cards take (`tests/support/hailo_sim/costs.py`).
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hailo_sim.build import fingerprint
from hailo_sim.costs import TABLE, cost_of
from pictures import read_rgb
from rapidocr_reference import RapidOcrReader
from simulated_card import Card, hef_path, open_card, write_text_files
from text_pages import Page, PageLine
from text_score import Reading, Score

from ml_target.catalogue.networks import OCR_DETECTION, OCR_RECOGNITION, SCRFD_2_5G
from ml_target.engines.cost import BurstCost
from ml_target.log.trace import Trace
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.reader import ReadOptions, TextReader

TEXT_SCORE = 0.8  # Immich's default
PHOTOS = ("page_portrait", "invoice", "long_lines", "screenshot_tall", "vertical_signs", "token_grid")


@dataclass
class Work:
    """What some pages cost the card. `bursts`: how many of each size, by network; of the face detector's, those that
    keep the card busy until a burst is there."""

    pages: int = 0
    bursts: Counter[tuple[str, int]] = field(default_factory=Counter)

    def device_ms(self, link: str) -> float:
        """Milliseconds a page on a card by the tables; `link`: fast or slow."""
        seconds = 0.0
        for (network, frames), count in self.bursts.items():
            row = TABLE[network]
            cost = cost_of(network, row.contexts, row.hef_bytes, chip="hailo8", link=link)
            small = cost.latency + cost.switch if row.contexts == 1 else 0.0
            seconds += count * (small or cost.overhead + frames * cost.per_frame)
        return 1000 * seconds / max(1, self.pages)

    @property
    def bursts_a_page(self) -> float:
        """Of the networks for text."""
        return sum(count for (network, _), count in self.bursts.items() if "ocr" in network) / max(1, self.pages)


class Measured(BurstCost):
    """What a burst takes on a measured card, by the table; the simulated one's own times say nothing here."""

    def __init__(self, network: str, link: str = "slow") -> None:
        super().__init__()
        row = TABLE[network]
        per_frame, overhead = row.fast if link == "fast" else row.slow
        for frames in (1, 8):
            super().add(frames, (overhead + frames * per_frame) / 1000)

    def add(self, frames: int, seconds: float) -> None:
        """Learns nothing."""


@dataclass
class Official:
    """RapidOCR at free sizes."""

    reader: RapidOcrReader

    def read(self, page: Page) -> list[Reading]:
        size = np.array(page.picture.shape[1::-1], np.float32)
        return [Reading(line.text, line.corners * size) for line in self.reader.read(page.picture, TEXT_SCORE)]


@dataclass
class OnCard:
    """This worker on the simulated card. `works`: the cost by kind of page."""

    reader: TextReader
    card: Card
    works: dict[str, Work] = field(default_factory=dict)

    def read(self, page: Page) -> list[Reading]:
        models = self.card.rig.record.models
        before = {name: Counter(model.bursts) for name, model in models.items()}
        lines = asyncio.run(self.reader.read(page.picture, ReadOptions(min_text_score=TEXT_SCORE), Trace()))
        work = self.works.setdefault(page.kind, Work())
        work.pages += 1
        for name, model in models.items():
            new = model.bursts - before.get(name, Counter())
            work.bursts.update({(name, size): count for size, count in new.items()})
        size = np.array(page.picture.shape[1::-1], np.float32)
        return [Reading(line.text, line.corners * size) for line in lines]


@contextlib.contextmanager
def card_sides(
    folder: Path, models: Path, budgets: Sequence[int], clock: str = "virtual"
) -> Iterator[dict[int, OnCard]]:
    """A reader for each budget of tiles, on one simulated card.

    `folder`: an empty one; `models`: the plain networks. `clock`: the card's; where it is slow enough, a small frame
    keeps the card busy until the whole burst behind it is there, as on a real card.
    """
    write_text_files(folder, models)
    hef_path(folder, SCRFD_2_5G).write_bytes(fingerprint(SCRFD_2_5G))
    alphabet = Alphabet.from_file(folder / "ppocrv5_dict.txt")
    with open_card(clock) as card:
        # The face detector is beside them as on every worker: its small frames hold bursts until they are full.
        found, read, _ = (card.model(folder, n) for n in (OCR_DETECTION, OCR_RECOGNITION, SCRFD_2_5G))
        found.queue.cost, read.queue.cost = (Measured(model.network.name) for model in (found, read))
        readers = {budget: TextReader(found, read, alphabet, card.host, 1000, budget) for budget in budgets}
        yield {budget: OnCard(reader, card) for budget, reader in readers.items()}


def photo_pages(photos: Path) -> Iterator[Page]:
    """The real photos with known text; where it stands is not known."""
    manifest = json.loads((photos / "manifest.json").read_text(encoding="utf-8"))
    nowhere = np.full((4, 2), np.nan, np.float32)
    for name in PHOTOS:
        lines = tuple(PageLine(text, nowhere) for text in manifest[f"{name}.jpg"]["rendered_lines"])
        yield Page(name, name, read_rgb(photos / f"{name}.jpg"), lines)


def score(side: Official | OnCard, pages: Sequence[Page]) -> dict[str, Score]:
    """By kind of page."""
    scores: dict[str, Score] = {}
    for page in pages:
        scores.setdefault(page.kind, Score()).add(page, side.read(page))
    return scores
