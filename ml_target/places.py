"""Where networks run, from the settings: the card or the processor, with the arbiter of each.

An engine is named here and nowhere else above `engines/`.
"""

import logging
from pathlib import Path
from typing import Literal

from ml_target.arbiter import Arbiter
from ml_target.config import Settings, available_cores
from ml_target.loading import Place
from ml_target.runtime.leaving import leave

log = logging.getLogger(__name__)

HAILO_NODE = Path("/dev/hailo0")


def choose_engine(settings: Settings) -> Literal["hailo", "cpu"]:
    """`auto` takes a card whose device node is there. One that then cannot be opened is an error, never a quiet CPU."""
    if settings.engine == "auto":
        return "hailo" if HAILO_NODE.exists() else "cpu"
    return settings.engine


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
    from ml_target.engines.hailo import CardSettings, HailoEngine

    chosen = CardSettings(
        settings.hailo_batch, settings.hailo_device_count, settings.hailo_device_ids, settings.hailo_group_id
    )
    engine = HailoEngine(chosen)
    # HailoRT spreads the bursts: one on each card, and one more in its queue for whichever ends first.
    cards = max(chosen.device_count, len(chosen.device_ids))
    return Place(engine, Arbiter(cards, patient=True, ahead=True, recover=engine.recover, leave=leave))
