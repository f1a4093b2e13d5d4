"""Where networks run, from the settings: the card or the processor, with the arbiter of each.

An engine is named here and nowhere else above `engines/`.
"""

import logging
from pathlib import Path
from typing import Literal

from ml_target.config import Settings, available_cores
from ml_target.runtime.assembly import Place
from ml_target.runtime.leaving import leave
from ml_target.scheduling.arbiter import Arbiter
from ml_target.system.cards import Finding, cards, locations, nodes

log = logging.getLogger(__name__)


def choose_engine(settings: Settings, root: Path = Path("/")) -> Literal["hailo", "cpu"]:
    """`auto` takes a card whose device node is here. One that then cannot be opened is an error, never a quiet CPU."""
    if settings.engine == "auto":
        return "hailo" if nodes(root) else "cpu"
    return settings.engine


def passed_over(settings: Settings, root: Path = Path("/")) -> Finding | None:
    """What to say where `auto` takes the processor although the host has a Hailo-8; None where there is nothing to say.

    A container sees the cards of its host and no node that it was not given: the card may well be another's.
    """
    there = [card.address for card in cards(root) if card.is_hailo_8]
    if settings.engine != "auto" or nodes(root) or not there:
        return None
    names = {address: name for name, address in locations(root).items()}
    return Finding(
        None,
        "card",
        f"the processor is used, although this host has a Hailo card at {there[0]}: no device node /dev/hailo* is "
        "here, so it may be another container's",
        f"To use it, pass --device=/dev/{names.get(there[0], 'hailo0')} to this container, or load the driver "
        "hailo_pci where this is the host itself; ENGINE=cpu says that the processor is meant, and ends this warning",
    )


def thread_plan(settings: Settings, cores: int) -> tuple[int, int, int]:
    """(host threads, threads of one inference, inferences at a time) for so many cores.

    One network gains little beyond four threads; further cores run further inferences instead.
    """
    threads = settings.cpu_threads or min(cores, 4)
    workers = settings.cpu_workers or max(1, cores // threads)
    return settings.host_threads or max(2, min(cores, 8)), threads, workers


def open_places(settings: Settings) -> tuple[Place, Place]:
    """Where pictures and where search queries run, often the same. Raises SettingsError without HailoRT's package.

    No device is touched yet.
    """
    if choose_engine(settings) == "cpu":
        if found := passed_over(settings):
            log.warning("%s: %s. %s.", found.what, found.detail, found.remedy)
        place = processor(settings)
        return place, place
    place = card(settings)
    if settings.clip_text_engine == "cpu":
        log.info("search queries run on the processor (CLIP_TEXT_ENGINE=cpu), pictures on the card")
        return place, processor(settings, 1)
    return place, place


def processor(settings: Settings, workers: int | None = None) -> Place:
    """ONNX Runtime, with so many inferences at a time (by cores when left out)."""
    from ml_target.engines.onnx import OnnxEngine

    _, threads, by_cores = thread_plan(settings, available_cores())
    # A query never waits for a picture here: the processor can do both.
    return Place(OnnxEngine(threads), Arbiter(workers or by_cores, own_lane=True))


def card(settings: Settings) -> Place:
    """HailoRT, with the cards that the settings name."""
    from ml_target.engines.hailo.engine import CardSettings, HailoEngine

    chosen = CardSettings(
        settings.hailo_batch, settings.hailo_device_count, settings.hailo_device_ids, settings.hailo_group_id
    )
    engine = HailoEngine(chosen)
    # HailoRT spreads the bursts: one on each card, and one more in its queue for whichever ends first.
    cards = max(chosen.device_count, len(chosen.device_ids))
    return Place(engine, Arbiter(cards, patient=True, ahead=True, recover=engine.recover, leave=leave))
