"""From settings and files to services, at start.

A file that is missing or damaged turns its task off, with the reason. A file that is intact, but not the network
that the catalogue names, stops the worker: somebody meant it to be served.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ml_target.catalogue.needs import beside_card
from ml_target.catalogue.types import ModelFile, Network
from ml_target.config import Settings
from ml_target.engines import Engine
from ml_target.errors import DamagedFileError, MissingFileError, Unavailable
from ml_target.runtime.registry import Services
from ml_target.runtime.shelf import Shelf, Taken
from ml_target.runtime.verdicts import Parities
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import ThreadPool
from ml_target.store import Store
from ml_target.tasks.contract import Offer
from ml_target.tasks.register import TASKS
from ml_target.tasks.service import Service

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where networks run: an engine, and the arbiter of its device."""

    engine: Engine
    arbiter: Arbiter


class Loader:
    """Opens what the settings ask for, with files from one store. It implements `Loading` of the tasks' contract.

    `beside`: the place of the networks that run on the processor, on a host with a card. `unproven`: HEFs of the
    owner's own are opened without a verdict, for the command that finds it.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        pool: ThreadPool,
        place: Place,
        beside: Place,
        *,
        unproven: bool = False,
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.folder = store.target
        self._shelf = Shelf(store)
        self._parities = None if unproven else Parities(store.target)
        self._place = place
        self._beside = beside
        self._to_load: list[str] = []
        self._begun = 0

    def services(self) -> Services:
        """Checks every file, then opens the device, then loads. Raises ModelError for a file of another network."""
        offers = {task.name: task.offers(self) for task in TASKS}
        self._check_files([offer for each in offers.values() for offer in each])
        for engine in {id(place.engine): place.engine for place in (self._place, self._beside)}.values():
            engine.start()
        return Services({name: [self.service(offer) for offer in each] for name, each in offers.items()})

    def _check_files(self, offers: Sequence[Offer[Any]]) -> None:
        """A file of another network stops the worker before any device is touched."""
        for offer in offers:
            for network in offer.networks:
                self._shelf.inspect(self.engine(network), network)
        for offer in offers:
            if self._shelf.complete([(self.engine(network), network) for network in offer.networks], offer.files):
                self._to_load += [network.name for network in offer.networks]

    def service(self, offer: Offer[T]) -> Service[T]:
        """One service, once the engines have started. Raises ModelError for a file of another network."""
        try:
            for network in offer.networks:  # before half a task is on a device
                self._taken(network)
            serves, models = offer.load(self)
        except MissingFileError as error:
            return Service(offer.name, never=error, variant=offer.variant)
        except DamagedFileError as error:
            return Service(offer.name, never=error, broken=True, variant=offer.variant)
        except Unavailable as error:
            return Service(offer.name, never=error, broken=True, variant=offer.variant)
        return Service(offer.name, serves, models, variant=offer.variant)

    def place(self, network: Network) -> Place:
        """Where this network runs."""
        return self._beside if beside_card(network, self.settings) else self._place

    # ------------------------------------------------ the contract: Loading

    def engine(self, network: Network) -> Engine:
        """The engine that runs this network."""
        return self.place(network).engine

    def has(self, network: Network) -> bool:
        """Whether its engine has a file for it, intact or not."""
        return self._shelf.has(self.engine(network), network)

    def file(self, file: ModelFile) -> Path:
        """A vocabulary, dictionary or weights. Raises MissingFileError, DamagedFileError."""
        return self._shelf.file(file).path

    def network_file(self, network: Network, engine: Engine) -> Path:
        """The file of a network for any engine. Raises as `file` does."""
        return self._shelf.network(engine, network).path

    def model(self, network: Network, *, interactive: bool = False) -> Model:
        """The network, opened. Raises as `file` does, and ModelError for another network."""
        place = self.place(network)
        taken = self._taken(network)
        self._say_loading(network)
        loaded = place.engine.open(taken.path, network)
        queue = place.arbiter.queue(loaded, network.name, interactive=interactive)
        provenance = Provenance(taken.path.name, taken.sha256, place.engine.name, taken.note)
        return Model(network, queue, provenance, lambda: place.engine.doubt(loaded))

    def _taken(self, network: Network) -> Taken:
        """The file that its engine serves. Raises as `file` does, also for a HEF whose verdict is missing or bad."""
        engine = self.engine(network)
        taken = self._shelf.network(engine, network)
        if self._parities is not None and any(file.chip for file in engine.files(network)):
            self._parities.require(network, taken.path, taken.sha256)
        return taken

    def _say_loading(self, network: Network) -> None:
        """Loading may take a minute: logs which network it is working on, and how many there are."""
        if network.name in self._to_load:
            self._begun += 1
            log.info("loading %s (%d of %d)", network.name, self._begun, len(self._to_load))
