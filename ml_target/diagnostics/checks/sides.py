"""The two sides of a comparison: the engine that serves, and the processor with the same networks."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any, TypeVar

from ml_target.catalogue.needs import chosen, needs
from ml_target.catalogue.types import Network
from ml_target.config import Settings, choose_engine
from ml_target.diagnostics.card import CardReport
from ml_target.diagnostics.checks.commands import in_its_place, with_networks
from ml_target.diagnostics.checks.result import Check, Gap, NotChecked, ask_doctor
from ml_target.engines.hailo.status import status_of
from ml_target.engines.select import REFERENCE, processor, thread_plan
from ml_target.errors import DeviceError, ModelError, SettingsError, WorkerError
from ml_target.remedies import command
from ml_target.runtime.assembly import Loader, Place
from ml_target.runtime.place import open_places, place_of
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.store.command import open_store
from ml_target.system.cards import holders
from ml_target.system.cgroups import available_cores
from ml_target.tasks.service import Service

log = logging.getLogger(__name__)
T = TypeVar("T")

LIMIT_S = 300.0
"""Time limit of one check. SigLIP takes a second per picture on a small board's processor."""

HELD, NONE_FREE = 73, 74
"""HailoRT's statuses for a card that another program holds."""


class Bench:
    """Opens engines and services, and closes them all. `used`: every model file that was opened."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = open_store(settings)
        self.engine_name = choose_engine(settings.engine)
        self.pool = ThreadPool(thread_plan(settings, available_cores())[0])
        self.used: dict[str, Provenance] = {}
        self._places: list[Place] = []
        self._silent = False

    @property
    def compares(self) -> bool:
        """Whether another engine serves, which can be compared with the processor."""
        return self.engine_name != REFERENCE

    async def open(self) -> Loader:
        """Opens the device. Raises NotChecked if that fails."""
        try:
            place, beside = open_places(self.settings)
            self._places = [place] if place is beside else [place, beside]
            for each in self._places:
                await asyncio.to_thread(each.engine.start)
            return Loader(self.settings, self.store, self.pool, place, beside, unproven=True)
        except (DeviceError, SettingsError, ModelError) as error:
            raise NotChecked(self._why_closed(error)) from error

    async def serves(self, load: Callable[[], Service[T]]) -> Service[T]:
        """A service that is on. Raises NotChecked if it is off, ModelError for a wrong file."""
        service = on(await asyncio.to_thread(load))
        self.note(service.models)
        return service

    async def against(
        self,
        served: Service[Any],
        networks: Sequence[Network],
        load: Callable[[Loader], T],
        compare: Callable[[T], Awaitable[dict[str, float]]],
    ) -> tuple[dict[str, float], Gap | None]:
        """What `compare` measures with the same networks on the processor; or why it was not done.

        Empty if the processor itself serves them. `load` opens the networks; they are closed afterwards.
        """
        if all(m.provenance.engine == REFERENCE for m in served.models if m.network in networks):
            return {}, None
        if gap := self.lacks(*networks):
            return {}, gap
        try:
            place = place_of(processor(self.settings, 1))
        except ModelError as error:
            return {}, Gap.of(error)
        try:
            loader = Loader(self._named(), self.store, self.pool, place, place)
            try:
                twin = await asyncio.to_thread(load, loader)
            except NotChecked as missing:
                return {}, missing.gap
            except ModelError as error:
                return {}, Gap(f"the processor's own files: {error}")
            return await compare(twin), None
        finally:
            place.arbiter.close()
            place.engine.close()

    def lacks(self, *networks: Network) -> Gap | None:
        """What keeps these networks from running on the processor; None if nothing does."""
        absent = [n for n in networks if not any(self.store.find(file) for file in n.onnx)]
        if not absent:
            return None
        names = [network.onnx[0].name for network in absent]
        remedy = with_networks(self.settings, self._to_fetch(names))
        return Gap(f"{' and '.join(names)}, the same network for the processor, is not there", remedy)

    def _to_fetch(self, names: Sequence[str]) -> Sequence[str]:
        """Arguments for fetching these files for the processor."""
        # If a stand-in is there, a fetch for the engine would consider the task complete.
        stood_in = [n for n in chosen(self.settings) if n.stand_in and any(map(self.store.find, n.stand_in.onnx))]
        return names if any(n.onnx[0].name in names for n in stood_in) else ("--engine", REFERENCE)

    def _named(self) -> Settings:
        """The same settings with a name where a stand-in would be used: it is the network itself that is compared."""
        named: dict[str, Any] = {n.setting: n.choice for n in chosen(self.settings) if n.stand_in}
        return replace(self.settings, **named)

    def note(self, models: Sequence[Model]) -> None:
        """Adds the models' files to `used`."""
        self.used.update((model.provenance.file, model.provenance) for model in models)

    async def guard(self, name: str, work: Callable[[], Awaitable[T]]) -> T | Check:
        """The result of `work`; if there is none, a check that says why."""
        if self._silent:
            return Check(name, gap=Gap("the engine stopped answering before", ask_doctor()))
        try:
            return await asyncio.wait_for(work(), LIMIT_S)
        except NotChecked as missing:
            return Check(name, gap=missing.gap)
        except asyncio.TimeoutError:
            self._silent = True
            return Check(name, fault=f"No answer within {LIMIT_S:g} s.")
        except WorkerError as error:
            return Check(name, fault=str(error))
        except Exception as error:  # a report of all the others is worth more than a traceback
            log.exception("%s", name)
            return Check(name, fault=f"{type(error).__name__}: {error}. Please report it with this output.")

    def close(self) -> None:
        """Closes the pools and releases the device."""
        for place in self._places:
            place.arbiter.close()
        self.pool.close()
        for place in self._places:
            place.engine.close()

    def _why_closed(self, error: WorkerError) -> Gap:
        status = status_of(error.__cause__) if error.__cause__ is not None else None
        if status not in (HELD, NONE_FREE):
            return Gap(str(error), _cpu_alone()) if self.compares else Gap.of(error)
        if CardReport(self.settings).answers():
            by = ", ".join(holders()) or "another program, most likely a running worker"
            return Gap(f"the card is held by {by}", in_its_place(self.settings, self._wanted()))
        return Gap("HailoRT finds no card here", f"{command('doctor')} says what is missing; {_cpu_alone()}")

    def _wanted(self) -> Sequence[str]:
        """Arguments for fetching the processor's missing networks; empty if all are there."""
        files = [need.files for need in needs(self._named(), REFERENCE) if need.engine == REFERENCE]
        names = [each[0].name for each in files if not any(map(self.store.find, each))]
        return self._to_fetch(names) if names else ()


def on(service: Service[T]) -> Service[T]:
    """Raises NotChecked for a service that is off, ModelError if that is a fault."""
    if service.fault:
        raise ModelError(service.why_off)
    if service.never:
        raise NotChecked(Gap.of(service.never))
    return service


def _cpu_alone() -> str:
    return f"{command('selfcheck', ENGINE='cpu')} looks at the processor alone"


async def timed(work: Awaitable[T], times: list[float]) -> T:
    """Awaits `work` and appends the milliseconds that it took."""
    started = perf_counter()
    result = await work
    times.append((perf_counter() - started) * 1000)
    return result
