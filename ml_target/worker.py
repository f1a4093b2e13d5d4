"""The worker's life: load, serve, close. It owns the engine, the pools and the services."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ml_target import __version__
from ml_target.arbiter import Arbiter
from ml_target.catalogue.immich import WIDTHS
from ml_target.config import PROJECT, Settings, available_cores
from ml_target.engines import Engine
from ml_target.errors import ModelError, SettingsError, Unavailable
from ml_target.host import HostPool
from ml_target.limits import Budget
from ml_target.loading import Loader
from ml_target.names import NamesSeen
from ml_target.pipeline import DECODED_PIXELS, Pipeline
from ml_target.requestlog import quoted
from ml_target.services import Services, describe_model
from ml_target.store import Store

log = logging.getLogger(__name__)

HAILO_NODE = Path("/dev/hailo0")
NODE_HINT = "ENGINE=cpu serves on the processor instead."

State = Literal["loading", "ready", "idle", "failed"]


def open_engine(settings: Settings, threads: int) -> Engine:
    """The engine the settings ask for. Raises SettingsError with the remedy where it is not to be had."""
    if settings.engine == "hailo":
        raise SettingsError(f"ENGINE=hailo: this version has no Hailo engine yet. {NODE_HINT}")
    if settings.engine == "auto" and HAILO_NODE.exists():
        # A card that is there and stays unused must not pass in silence.
        raise SettingsError(f"{HAILO_NODE} is present, but this version has no Hailo engine yet. {NODE_HINT}")
    from ml_target.engines.onnx import OnnxEngine

    return OnnxEngine(threads)


def thread_plan(settings: Settings, cores: int) -> tuple[int, int, int]:
    """(host threads, threads of one inference, inferences at a time) for so many cores.

    One network gains little beyond four threads; further cores run further inferences instead.
    """
    threads = settings.cpu_threads or min(cores, 4)
    workers = settings.cpu_workers or max(1, cores // threads)
    return settings.host_threads or max(2, min(cores, 8)), threads, workers


class Worker:
    """State machine: loading, then ready (something is served), idle (nothing is), or failed.

    `load`: what makes the services, in a thread; by default the models that the settings ask for.
    """

    def __init__(self, settings: Settings, load: Callable[["Worker"], Services] | None = None) -> None:
        self.settings = settings
        self.state: State = "loading"
        self.failure: Exception | None = None
        self.names = NamesSeen()
        self.engine: Engine | None = None
        host_threads, self._threads, workers = thread_plan(settings, available_cores())
        self.host = HostPool(host_threads)
        # A query never waits for a picture: the processor can do both.
        self.arbiter = Arbiter(workers, own_lane=True)
        self._make_services = load or Worker._from_files
        self._services: Services | None = None
        self._pipeline: Pipeline | None = None
        self._loaded = asyncio.Event()
        self._started = time.monotonic()

    # ------------------------------------------------------------------- life

    async def load(self, on_failure: Callable[[], None] = lambda: None) -> None:
        """Opens engine and models in a thread; afterwards the state is no longer `loading`."""
        started = time.perf_counter()
        try:
            self._services = await asyncio.to_thread(self._make_services, self)
        except Exception as error:
            expected = isinstance(error, (ModelError, SettingsError))
            log.critical("The worker stops: %s", error, exc_info=None if expected else error)
            self.state, self.failure = "failed", error
            self._loaded.set()
            on_failure()
            return
        self._pipeline = Pipeline(
            self._services, self.host, self.names, Budget(DECODED_PIXELS), self.settings.max_pixels
        )
        self.state = "ready" if any(service.on for service in self._services.all().values()) else "idle"
        self._announce(self._services, time.perf_counter() - started)
        self._loaded.set()

    def _from_files(self) -> Services:
        settings = self.settings
        store = Store(
            settings.models_dir,
            spare=PROJECT / "models",
            mirror=settings.models_mirror,
            hf_endpoint=settings.hf_endpoint,
        )
        self.engine = open_engine(settings, self._threads)
        return Loader(settings, store, self.engine, self.arbiter, self.host).services()

    def _announce(self, services: Services, seconds: float) -> None:
        for label, service in services.all().items():
            if not service.on:
                log.warning("task %s is OFF: %s", label, service.why_off)
                continue
            for model in service.models:
                described = " ".join(f"{key}={quoted(value)}" for key, value in describe_model(model).items())
                log.info("task %s is on: %s", label, described)
        if self.state == "idle":
            log.error("No task can be served. `python3 -m ml_target models fetch` gets the model files.")
        for clip in services.clip.values():
            if clip.visual.on:
                log.info(
                    "smart search serves %s vectors (%d numbers): choose %s in Immich%s",
                    clip.backend.name,
                    clip.backend.width,
                    clip.backend.immich_name,
                    " (it has no name of its own there)" if clip.backend.hides_behind else "",
                )
        log.info("%s after %.1f s on engine %s, process %d", self.state, seconds, self.engine_name, os.getpid())

    def close(self) -> None:
        """Ends the pools and the engine; work that has not started is dropped."""
        self.arbiter.close()
        self.host.close()
        if self.engine is not None:
            self.engine.close()

    # ------------------------------------------------------------------ serve

    async def pipeline(self) -> Pipeline:
        """The pipeline, held for until loading has ended. Raises Unavailable when there is none."""
        await self._loaded.wait()
        if self._pipeline is None:
            raise Unavailable(f"The worker could not start: {self.failure}")
        return self._pipeline

    @property
    def engine_name(self) -> str:
        return self.engine.name if self.engine else "none"

    def status(self) -> dict[str, Any]:
        """What the status page says."""
        tasks = {} if self._services is None else {k: s.describe() for k, s in self._services.all().items()}
        return {
            "version": __version__,
            "state": self.state,
            "ready": self.state == "ready",
            **({"failure": str(self.failure)} if self.failure else {}),
            "engine": self.engine_name,
            "uptime_s": round(time.monotonic() - self._started),
            "tasks": tasks,
            "clip": self._spaces(),
            "names": self.names.describe(),
        }

    def _spaces(self) -> list[dict[str, Any]]:
        if self._services is None:
            return []
        return [
            {
                "space": clip.backend.name,
                "width": clip.backend.width,
                "on": clip.visual.on,
                "immich_name": clip.backend.immich_name,
                "names_of_this_width": [name for name, width in WIDTHS.items() if width == clip.backend.width],
            }
            for clip in self._services.clip.values()
        ]
