"""Which engine runs the networks, and with how many threads: the one place that knows engines by their names.

Each engine has one function here. Code above asks what an engine can do (`Engine.capabilities`).
"""

import logging
from pathlib import Path

from ml_target.catalogue.needs import EngineName, beside_card, chosen
from ml_target.catalogue.networks import AUTO, short_name
from ml_target.catalogue.types import ModelFile, Network
from ml_target.config import Settings, choose_engine, setting_names
from ml_target.engines import Engine
from ml_target.system.cards import FIRST_NODE, NODES, cards, locations, nodes
from ml_target.system.cgroups import available_cores
from ml_target.system.finding import Finding

log = logging.getLogger(__name__)

REFERENCE: EngineName = "cpu"
"""The engine that others are compared with."""


def passed_over(settings: Settings, root: Path = Path("/")) -> Finding | None:
    """A warning where `auto` takes the processor although the host has a Hailo-8; None otherwise.

    A container sees its host's cards, but only the nodes that were passed to it: the card may be another container's.
    """
    there = [card.address for card in cards(root) if card.is_hailo_8]
    if settings.engine != "auto" or nodes(root) or not there:
        return None
    names = {address: f"/dev/{name}" for name, address in locations(root).items()}
    return Finding(
        None,
        "card",
        f"the processor is used, although this host has a Hailo card at {there[0]}: no device node {NODES} is "
        "here, so it may be another container's",
        f"To use it, pass --device={names.get(there[0], FIRST_NODE)} to this container, or load the driver "
        "hailo_pci where this is the host itself; ENGINE=cpu says that the processor is meant, and ends this warning",
    )


def thread_plan(settings: Settings, cores: int) -> tuple[int, int, int]:
    """(preparation threads, most threads of an inference, inferences at a time) for this many cores.

    A network gains little beyond four threads; more cores run more inferences instead. Each core has the threads of two
    inferences: in one alone they wait for each other and for the parts that only one of them can do, on two cores for a
    third of the time. Inferences that run at the same time take fewer (`sharing.py`). The card needs as many preparing
    threads as there are cores: what it waits for is decoding and resizing, which release the GIL.
    """
    threads = settings.cpu_threads or min(cores, 4)
    workers = settings.cpu_workers or (1 if cores == 1 else 2 * cores // threads)
    return settings.host_threads or max(2, min(cores, 8)), threads, workers


def choose_engines(settings: Settings) -> tuple[Engine, Engine]:
    """The worker's engine, and the one of networks that run on the processor beside it, often the same.

    No device is touched yet. Logs which networks these are, and why.

    Raises SettingsError without HailoRT's package, ModelError without ONNX Runtime.
    """
    if choose_engine(settings.engine) == "cpu":
        if found := passed_over(settings):
            log.warning("%s: %s. %s.", found.what, found.detail, found.remedy)
        engine = processor(settings)
        return engine, engine
    engine = card(settings)
    beside = [network for network in chosen(settings) if beside_card(network, settings)]
    for words in dict.fromkeys(_beside_the_card(network, settings) for network in beside):
        log.info("%s", words)
    if not beside:
        return engine, engine
    # Half of what the processor runs alone, unless the setting says otherwise: what a card waits for is prepared there.
    return engine, processor(settings, settings.cpu_workers or max(1, thread_plan(settings, available_cores())[2] // 2))


def _beside_the_card(network: Network, settings: Settings) -> str:
    """Which network runs on the processor although there is a card, and why."""
    if network.takes_text:
        return "search queries run on the processor (CLIP_TEXT_ENGINE=cpu), pictures on the card"
    where, setting = f"{short_name(network.task)}: {network.stage}", setting_names(network.setting)[0]
    why = f"{where} runs on the processor, because {setting}={network.choice} is set"
    if getattr(settings, network.setting) == AUTO:  # what is there is known only when the files are looked at
        why = f"{where} by {network.choice} runs on the processor if its file is there ({setting}={AUTO})"
    bounds = "CPU_THREADS and CPU_WORKERS bound what it takes of the processor"
    return f"{why}: nobody publishes a file of it for a card. {bounds}"


def reference_files(network: Network) -> tuple[ModelFile, ...]:
    """The files that `processor` would open, without ONNX Runtime."""
    return network.onnx


def processor(settings: Settings, workers: int | None = None) -> Engine:
    """ONNX Runtime, running `workers` inferences at a time (default: by cores). Raises ModelError without it."""
    from ml_target.engines.onnx.engine import OnnxEngine

    _, threads, by_cores = thread_plan(settings, available_cores())
    return OnnxEngine(threads, workers or by_cores)


def card(settings: Settings) -> Engine:
    """HailoRT, on the cards that the settings name. Raises SettingsError without its package."""
    from ml_target.engines.hailo.card import CardSettings
    from ml_target.engines.hailo.engine import HailoEngine

    return HailoEngine(
        CardSettings(
            settings.hailo_batch,
            settings.hailo_device_count,
            settings.hailo_device_ids,
            settings.hailo_group_id,
            settings.hailort_dir,
        )
    )
