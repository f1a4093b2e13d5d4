"""The worker's life: load, serve, close. It owns the engine, the pools and the services."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, Literal

from ml_target import __version__
from ml_target.catalogue.networks import SCRFD_2_5G
from ml_target.config import Settings, choose_engine
from ml_target.engines import Engine
from ml_target.engines.select import thread_plan
from ml_target.errors import Unavailable, WorkerError
from ml_target.figures.live import live
from ml_target.figures.observer import RECOVERIES
from ml_target.figures.present import Present
from ml_target.figures.recorder import Recorder
from ml_target.imaging.outside import Helper
from ml_target.remedies import anew_after, fetch
from ml_target.runtime import first_fetch
from ml_target.runtime.announce import announce
from ml_target.runtime.assembly import Loader, Place
from ml_target.runtime.budget import MIB, Memory
from ml_target.runtime.decoding import Decoder
from ml_target.runtime.names_seen import NamesSeen
from ml_target.runtime.overview import about, overview
from ml_target.runtime.pipeline import Pipeline
from ml_target.runtime.place import open_places
from ml_target.runtime.registry import Services
from ml_target.runtime.resting import Resting
from ml_target.runtime.summary import address, summarise
from ml_target.scheduling.threads import ThreadPool
from ml_target.store import fetch_arguments
from ml_target.store.command import open_store
from ml_target.system import allocator
from ml_target.system.cgroups import available_cores
from ml_target.system.process import resident_bytes
from ml_target.tasks.contract import ImmichSetting
from ml_target.tasks.register import TASKS

log = logging.getLogger("ml_target.worker")  # a documented log name, independent of where this file is

State = Literal["loading", "ready", "recovering", "idle", "failed"]


class Worker:
    """State machine: loading, then ready (something is served), idle (nothing is), or failed; recovering now and then.

    `load`: what makes the services, in a thread; by default the models that the settings ask for.
    """

    def __init__(self, settings: Settings, load: Callable[["Worker"], Services] | None = None) -> None:
        self.settings = settings
        self.failure: Exception | None = None
        self.names = NamesSeen()
        self.engine_name = choose_engine(settings.engine)
        self.recorder = Recorder()
        self.cores = available_cores()
        self.host_threads, _, _ = thread_plan(settings, self.cores)
        self.pool = ThreadPool(self.host_threads)
        self.memory = Memory.of(settings.memory_mb, settings.max_upload_mb)
        self.helper = Helper(self.memory.uploads * 3 // 4)
        self.places: list[Place] = []
        self._state: State = "loading"
        self._make_services = load or Worker._from_files
        self._services: Services | None = None
        self._pipeline: Pipeline | None = None
        self._resting: Resting | None = None
        self._loaded = asyncio.Event()
        self._started = time.monotonic()

    # ------------------------------------------------------------------- life

    async def load(self, on_failure: Callable[[], None] = lambda: None) -> None:
        """Opens engine and models in a thread; afterwards the state is no longer `loading`."""
        started = time.perf_counter()
        try:
            self._services = await asyncio.to_thread(self._make_services, self)
        except Exception as error:
            expected = isinstance(error, WorkerError)
            log.critical("The worker stops: %s", error, exc_info=None if expected else error)
            self._state, self.failure = "failed", error
            self._loaded.set()
            on_failure()
            return
        decoder = Decoder(self.pool, self.memory, self.helper, self.settings.max_pixels)
        self._pipeline = Pipeline(self._services, self.names, decoder)
        self.recorder.expect(service.name for service in self._services.all().values())
        # A task that is only doubted may come back with the card.
        self._state = "ready" if any(s.serves for s in self._services.all().values()) else "idle"
        self._announce(self._services, time.perf_counter() - started)
        self._rest_when_idle([place.engine for place in self.places])
        self._loaded.set()

    def _rest_when_idle(self, engines: list[Engine]) -> None:
        self._resting = Resting(engines, self.settings.model_ttl)
        if self.settings.model_ttl and not any(engine.capabilities.unloads for engine in engines):
            log.warning("MODEL_TTL has no effect: no network runs on the processor, and those on a card stay there")
        self._resting.watch()

    def _from_files(self) -> Services:
        settings = self.settings
        store = open_store(settings, first_fetch.progress())
        if words := store.fallback():
            log.warning("%s", words)
        if settings.models_fetch == "on":
            first_fetch.fetch_missing(settings, store)
        place, beside = open_places(settings, self.recorder)
        self.places = [place] if beside is place else [place, beside]
        services = Loader(settings, store, self.pool, place, beside).services()
        allocator.trim()  # of what the files were read into, before pictures come to lie behind it
        return services

    def _announce(self, services: Services, seconds: float) -> None:
        for label, service in services.all().items():
            announce(label, service)
        if self.state == "idle":
            log.error("No task can be served. To get the model files: %s", anew_after(fetch(*self._for_this_chip())))
        engine = " and ".join(dict.fromkeys(place.engine.device for place in self.places)) or self.engine_name
        summary = summarise(services, engine, self._address())
        # The marked lines come after the one with the time.
        log.info(
            "%s after %.1f s on engine %s, process %d\n\n%s",
            self.state,
            seconds,
            self.engine_name,
            os.getpid(),
            summary,
            extra={"red": {line + 2 for line in summary.red}},
        )

    def _for_this_chip(self) -> tuple[str, ...]:
        """What `models fetch` has to be told where the card is not the usual one: both chips' files have one name."""
        files = (file for place in self.places for file in place.engine.files(SCRFD_2_5G))
        return next(map(fetch_arguments, files), ())

    def close(self) -> None:
        """Ends the pools and the engine; work that has not started is dropped."""
        if self._resting is not None:
            self._resting.close()
        self.helper.close()
        for place in self.places:
            place.arbiter.close()
        self.pool.close()
        for place in self.places:
            place.engine.close()

    # ------------------------------------------------------------------ serve

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Pipeline]:
        """The pipeline for one request, once loading has ended; networks that were unloaded are loaded first.

        Raises Unavailable when the worker could not start, or the networks cannot be loaded again.
        """
        await self._loaded.wait()
        if self._pipeline is None or self._resting is None:
            raise self._not_started()
        async with self._resting.request():
            yield self._pipeline

    def _not_started(self) -> Unavailable:
        reason = f"The worker could not start: {self.failure}"
        if isinstance(self.failure, WorkerError) and self.failure.remedy:
            reason = f"The worker could not start: {self.failure.reason}"
            return Unavailable(reason, self.failure.remedy, separator=self.failure.separator)
        return Unavailable(reason, "Its log has the details: please report it.")

    @property
    def state(self) -> State:
        """What the worker is doing; `recovering` while it tries to get a lost device back."""
        if self._state == "ready" and not all(place.arbiter.ready for place in self.places):
            return "recovering"
        if self._state == "ready" and self._services is not None and not self._services.any_on:
            return "idle"
        return self._state

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """A request's body is arriving."""
        with ExitStack() as arrivals:
            for place in self.places:
                arrivals.enter_context(place.arbiter.arriving())
            yield

    def status(self) -> dict[str, Any]:
        """What the status page says."""
        tasks = {} if self._services is None else {k: s.describe() for k, s in self._services.all().items()}
        return {
            "version": __version__,
            "state": self.state,
            "ready": self.state == "ready",
            **({"failure": str(self.failure)} if self.failure else {}),
            "engine": self.engine_name,
            **({"networks": self._resting.networks} if self._resting and self.settings.model_ttl else {}),
            "uptime_s": round(time.monotonic() - self._started),
            "tasks": tasks,
            **self._of_tasks(),
            "names": self.names.describe(),
        }

    def live(self) -> dict[str, Any]:
        """What the worker did in the last minutes, with the memory and the processor that it has now."""
        pictures = self.memory.pictures
        return {
            **live(self.recorder),
            "memory": {
                "resident_mb": resident_bytes() // MIB,
                "decoded_mb": (pictures.total - pictures.free) // MIB,
                "limit_mb": pictures.total // MIB,
            },
            "load": {"cores": self.cores, "threads": self.host_threads},
        }

    async def devices(self) -> list[dict[str, Any]]:
        """Every engine in use, with what its device says of itself."""
        if self.state == "loading":
            return []
        # Not in the pool: there it would wait behind pictures.
        return [
            {
                "engine": place.engine.name,
                "ready": place.arbiter.ready,
                "recoveries": {kind: self.recorder.totals.recoveries[place.engine.name, kind] for kind in RECOVERIES},
                **await asyncio.to_thread(place.engine.health),
            }
            for place in self.places
        ]

    async def overview(self) -> dict[str, Any]:
        """What the page shows: status, words for people, and devices."""
        services, loading = self._services, self.state == "loading"
        return {
            "status": self.status(),
            "try_it": self.settings.try_it == "on",
            "devices": [] if loading else await asyncio.to_thread(about, self.places),
            **({} if services is None else overview(services, self.names, self._address())),
        }

    def _address(self) -> ImmichSetting:
        return address(self.settings.host, self.settings.port)

    def present(self, devices: Sequence[Mapping[str, Any]]) -> Present:
        """What is so now, for monitoring. `devices`: what `devices()` says."""
        pictures = self.memory.pictures
        return Present(
            ready=self.state == "ready",
            tasks={} if self._services is None else {name: each.on for name, each in self._services.all().items()},
            devices=devices,
            decoded=pictures.total - pictures.free,
            decoded_limit=pictures.total,
            build={"version": __version__, "engine": self.engine_name, "backend": self.settings.clip_backend},
        )

    def _of_tasks(self) -> dict[str, Any]:
        """What tasks add to the status page."""
        of = self._services.of if self._services is not None else {}
        return {key: value for task in TASKS for key, value in task.status(of.get(task.name, ())).items()}
