"""Engines and their loader for one command: opens only what is needed, and closes all of it."""

from collections.abc import Callable
from typing import TypeVar

from ml_target.config import Settings
from ml_target.engines.select import thread_plan
from ml_target.runtime.assembly import Loader, Place
from ml_target.runtime.place import open_places
from ml_target.scheduling.threads import ThreadPool
from ml_target.store.command import open_store
from ml_target.system.cgroups import available_cores
from ml_target.tasks.contract import Offer

T = TypeVar("T")


class Workbench:
    """A context manager. Entering it raises SettingsError if the engine's package is missing.

    No device is touched until something that runs on it is loaded.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pool = ThreadPool(thread_plan(settings, available_cores())[0])
        self._started: list[Place] = []

    def __enter__(self) -> "Workbench":
        try:
            self.places = open_places(self.settings)
            self.loader = Loader(self.settings, open_store(self.settings), self.pool, *self.places)
        except BaseException:
            self.pool.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for place in self.places:
            place.arbiter.close()
        self.pool.close()
        for place in self._started:
            place.engine.close()

    def start(self, place: Place) -> None:
        """Opens the place's device, once. Raises DeviceError with the remedy."""
        if not any(place is started for started in self._started):
            place.engine.start()
            self._started.append(place)

    def load(self, offered: Callable[[Loader], Offer[T]]) -> T:
        """The object that serves what is offered, on the places of its networks.

        Raises TaskOff, ModelError for a wrong file, DeviceError.
        """
        offer = offered(self.loader)
        for network in offer.networks:
            self.start(self.loader.place(network))
        service = self.loader.service(offer)
        if service.serves is None:
            raise service.refusal()
        return service.serves
