"""The Hailo engine: one card (or several as one), every network configured once and kept.

Opening, recovery and teardown follow how HailoRT 4.2x behaves: the scheduler is requested
explicitly (the binding's default is none); configured models are released before infer models, and
those before the device; after closing models the GIL is left for a moment before any call that holds it.

Three things can hang, and each has its own time limit: closing a model, HailoRT's interrupt thread
(for both see `closing.py`), and `configure()` and `release()` themselves. Those hold the GIL, so
no request can be answered, and a timer that needs no GIL ends the process (`watchdog.py`).
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_target.catalogue.types import DEFAULT_CHIP, Chip, ModelFile, Network
from ml_target.engines import Capabilities, LoadedNetwork
from ml_target.engines.hailo.card import CardSettings, HeldCard
from ml_target.engines.hailo.checks import host_checks
from ml_target.engines.hailo.closing import Closing
from ml_target.engines.hailo.cooling import Cooling
from ml_target.engines.hailo.fit import check_fit
from ml_target.engines.hailo.kernel_log import kernel_words
from ml_target.engines.hailo.link import link
from ml_target.engines.hailo.made_for import REFUSES, Newer, newer
from ml_target.engines.hailo.network import HailoNetwork
from ml_target.engines.hailo.status import (
    FILE_STATUSES,
    GONE,
    RESTART,
    describe,
    device_error,
    doctor,
    name_of,
    remedy_of,
    status_of,
)
from ml_target.engines.hailo.turns import Turns
from ml_target.engines.hailo.versions import OF_VERSIONS, both, firmware_check, library_check
from ml_target.engines.hailo.watchdog import bounded, with_file
from ml_target.errors import EXIT_HUNG, BurstLost, CardHangs, DamagedFileError, DeviceError, EngineFault, TaskOff
from ml_target.figures.observer import RecoveryKind
from ml_target.hef.header import CHIP_NAMES
from ml_target.system.cards import driver_version
from ml_target.system.finding import Finding

log = logging.getLogger(__name__)

SMALL_BATCH = 8
TOO_LARGE = (3, 47, 81, 84)
"""HailoRT's statuses when host or driver have no room for a network's buffers, which grow with the most frames of its
bursts: it is then tried with `SMALL_BATCH`, and a smaller HAILO_BATCH is up to the owner."""


class HailoEngine:
    """Owns the device. Networks are opened one by one at start, from one thread.

    `leave`: ends the process with a status. `clock`: seconds, as of `time.monotonic`.
    Raises SettingsError where HailoRT's package cannot be imported.
    """

    name = "hailo"

    def __init__(
        self,
        settings: CardSettings,
        leave: Callable[[int], Any] = os._exit,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._leave = leave
        self._card = HeldCard(settings, clock)
        self._cooling = Cooling(clock)
        self._closing = Closing()
        self._turns = Turns(settings.cards, shared=bool(settings.group), clock=clock)
        self._networks: list[HailoNetwork] = []
        self._files: dict[str, Path] = {}
        self._models: dict[str, Any] = {}
        # HailoRT spreads the bursts: one on each card, and one more in its queue for the card that finishes first.
        self.capabilities = Capabilities(
            lanes=settings.cards,
            fuller_pays=True,
            queues_ahead=True,
            beside_host=True,
            text_layout=True,
            compiled=True,
        )

    @property
    def device(self) -> str:
        """The kind of card, and how many there are."""
        return self._card.words

    @property
    def chip(self) -> Chip | None:
        """The card's chip; None until the card has been identified."""
        return self._card.chip

    # ----------------------------------------------------------------- opening

    def files(self, network: Network) -> tuple[ModelFile, ...]:
        """The file for this chip. Both builds have the same name, so this works before the device is identified."""
        file = network.hef.get(self.chip or DEFAULT_CHIP)
        return () if file is None else (file,)

    def check(self, file: Path, network: Network) -> None:
        """Raises ModelError if the file is not this network. Touches no device."""
        for warning in check_fit(file, network, self.chip, self._card.library).warnings:
            log.warning("%s", warning)

    def start(self) -> None:
        """Checks the host, opens the device and identifies its chip. Raises DeviceError with the remedy."""
        for finding in host_checks(ids=self._settings.device_ids, count=self._settings.device_count):
            _heed(finding)
        _heed(library_check(self._card.library, driver_version()))
        try:
            self._card.open()
        except self._card.errors as error:
            kernel = "".join(f" The kernel's log: {each.detail}. {each.remedy}." for each in kernel_words() or ())
            status = status_of(error)
            versions = f" {both(self._card.library, driver_version())}." if status in OF_VERSIONS else ""
            raise device_error(status, besides=versions + kernel) from error
        _heed(firmware_check(self._card.firmware, self._card.library))

    def open(self, file: Path, network: Network) -> LoadedNetwork:
        """Configures the network and tries it. Raises DamagedFileError, ModelError or DeviceError.

        If its answers cannot be trusted, `distrust` of the network says so.
        """
        fit = check_fit(file, network, self.chip)
        loaded = HailoNetwork(network, fit, self._settings.batch, self._turns, self._make_room)
        self._files[network.name] = file
        self._networks.append(loaded)
        try:
            self._configure(loaded)
        except Exception as error:
            self._networks.remove(loaded)
            self._closing.close([loaded])  # a model left open would keep the device from being released
            if isinstance(error, self._card.errors):
                raise _refusal(file, status_of(error), self.chip, newer(fit.header, self._card.library)) from error
            if isinstance(error, BurstLost):
                raise DeviceError(f"{error}, the first one that it was given", f"{RESTART}; {doctor()}.") from error
            raise
        return loaded

    def _make_room(self, network: HailoNetwork, frames: int) -> None:
        """Keeps an idle card busy for a moment while a burst is handed over.

        HailoRT's scheduler wakes at the first frame of a list: on an idle card it may send that one
        alone and the rest as a second burst, so a network of several contexts pays its whole
        overhead twice. A frame of a small network occupies the card for the few milliseconds until
        the whole list is there.
        """
        if frames < 2 or not network.fit.group.multi_context or self._turns.running:
            return
        small = [n for n in self._networks if n.alive and not n.fit.group.multi_context]
        if small:
            min(small, key=lambda n: n.frame_bytes).send_blank()

    def _configure(self, network: HailoNetwork) -> None:
        name = network.network.name
        while True:
            self._models[name] = self._card.infer_model(self._files[name], network.fit, network.batch)
            try:
                self._put_on_card(network)
                return
            except self._card.errors as error:
                if status_of(error) not in TOO_LARGE or network.batch <= SMALL_BATCH:
                    raise
                why = name_of(status_of(error))
                log.warning(
                    f"{name}: no room for bursts of {network.batch} ({why}), {SMALL_BATCH} are tried. "
                    f"Set HAILO_BATCH={SMALL_BATCH} to end this warning."
                )
                network.batch = SMALL_BATCH

    def _put_on_card(self, network: HailoNetwork) -> None:
        name = network.network.name
        with bounded(f"configuring {name}", with_file(self._files[name])):
            configured = self._models[name].configure()
        network.put_on_card(configured)
        self._closing.configured()

    # ------------------------------------------------------------------ health

    def about(self) -> list[Finding]:
        """Chip, firmware, library, driver, and the link of each card that the driver has."""
        chip, firmware, library = self._card.chip, self._card.firmware, self._card.library
        found = [Finding(True, "chip", CHIP_NAMES[chip])] if chip else []
        found += [firmware_check(firmware, library)] if firmware else []
        found.append(library_check(library, driver_version()))
        found.append(Finding(True, "driver", driver_version() or "version unknown", looked=False))
        return [*found, *(each for card in self._card.cards() for each in link(card))]

    def health(self) -> dict[str, float]:
        """`temperature_c` and `power_w`, where the card reports them; read rarely. Blocks."""
        return self._card.health.readings()

    def doubt(self, network: LoadedNetwork) -> TaskOff | None:
        """Why the card's answers cannot be trusted, with the remedy; None while they can."""
        return network.distrust if isinstance(network, HailoNetwork) else None

    # ---------------------------------------------------------------- recovery

    def recover(self, network: LoadedNetwork) -> RecoveryKind:
        """Gets the card going again: reconfigures one model if only that one is lost, else reopens everything.

        It also reopens everything after a possible thermal stop (an aborted burst, or a hot card): HailoRT
        reports one only once while a device is open, and would abort nothing at the next one.

        It goes on until every network is back, not only `network`: an earlier attempt may have stopped half-way.
        Raises DeviceError if it failed for now (call it again), CardHangs if it can never succeed.
        """
        dead = [n for n in self._networks if not n.alive]
        if not dead:
            return "already_back"  # recovery of another network has brought it back already
        if self._closing.hung:
            raise CardHangs(self._closing.hung)
        try:
            self._cooling.require(self._card.health.readings(fresh=True).get("temperature_c"))
            if self._card.is_open and self._card.health.gone:
                self._closing.hangs("The driver no longer reaches the card")
            stopped = dead[0].aborted or self._cooling.hot
            if len(dead) == 1 and not stopped and self._reconfigured(dead[0]):
                return "reconfigured"
            self._release()
            self._card.open()
            self._cooling.opened()
            for each in self._networks:
                self._configure(each)
        except self._card.errors as error:
            raise device_error(status_of(error)) from error
        return "reopened"

    def _reconfigured(self, network: HailoNetwork) -> bool:
        """Reconfigures this one network on the open device. False if that is not enough."""
        if not self._card.is_open or network.network.name not in self._models:
            return False
        failures: tuple[type[Exception], ...] = (EngineFault, *self._card.errors)
        try:
            self._closing.close([network])
            self._put_on_card(network)
        except CardHangs:
            raise
        except failures as error:
            if isinstance(error, self._card.errors) and status_of(error) in GONE:
                self._closing.hangs(f"The driver no longer reaches the card ({describe(error)})")
            log.warning("reconfiguring was not enough (%s); opening the card again", error)
            return False
        if network.distrust:
            log.warning("%s cannot be trusted after reconfiguring; opening the card again", network.network.name)
        return network.distrust is None

    # ---------------------------------------------------------------- teardown

    def rest(self) -> None:
        """Nothing to do: what a burst is computed in is the card's."""

    def unload(self) -> None:
        """Nothing to do: networks stay on the card."""

    def reload(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Releases everything, in the order HailoRT needs; ends the process if that hangs."""
        try:
            if not self._closing.hung:
                self._release()
        except CardHangs as error:
            log.critical("%s", error)
        if self._closing.hung:
            self._leave(EXIT_HUNG)

    def _release(self) -> None:
        """Models, infer models, device. Raises CardHangs."""
        self._closing.close(self._networks)
        self._models.clear()
        self._closing.all_gone()
        self._card.release()


def _refusal(file: Path, status: int, chip: Chip | None, age: Newer | None = None) -> DamagedFileError | DeviceError:
    """A file that HailoRT refuses is not the card's fault: other networks are still served.

    `age`: what is known of a file newer than this HailoRT. It is whole, so it need not be fetched again.
    """
    if age and status in REFUSES:
        return DamagedFileError(f"{file} is refused: HailoRT reports {name_of(status)}; {age.reason}", f"{age.remedy}.")
    if status in FILE_STATUSES:
        build = ("--engine", "hailo", "--chip", chip) if chip else ()  # both chips' files have one name
        return DamagedFileError(f"{file} is refused: HailoRT reports {name_of(status)}", remedy_of(status, *build))
    return device_error(status, of=file.name)


def _heed(finding: Finding) -> None:
    """Logs a finding about the host. Raises DeviceError if something is wrong."""
    if finding.ok is False:
        raise DeviceError(f"{finding.what}: {finding.detail}", f"{finding.remedy}.")
    remedy = f"-> {finding.remedy}" if finding.remedy else ""
    log.log(logging.INFO if finding.ok else logging.WARNING, "%s: %s %s", finding.what, finding.detail, remedy)
