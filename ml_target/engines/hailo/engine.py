"""The Hailo engine: one card (or several as one), every network configured once and kept.

Opening, recovery and teardown follow how HailoRT 4.2x behaves: the scheduler is asked for
explicitly (the binding's default is none); configured models go before infer models, those before
the device, and between closing models and the next call that holds the GIL it is left for a moment.

Three things can hang, and each has its own bound:
- closing a model whose card is gone: HailoRT waits for its frames, ten seconds for each place in the
  queue. It does so without the GIL, so the rest of the worker lives: after `CLOSE_S` whoever called
  is told (`CardHangs`), everybody who waits gets a 503, and the process leaves.
- HailoRT's interrupt thread ends for good, or sleeps for ever, when the card was away even for a
  moment. The next `configure()` or `release()` would wait for it with the GIL held, so `CardHangs`
  comes before: where that thread has ended, and where the driver says that it reaches no card.
- `configure()` and `release()` themselves, with the GIL held: nobody can be answered any more, and
  a timer that needs no GIL ends the process (`hailo_watchdog`).
"""

import faulthandler
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ml_target.catalogue.types import Chip, ModelFile, Network
from ml_target.engines import LoadedNetwork
from ml_target.engines.hailo.checks import host_checks
from ml_target.engines.hailo.device import chip_of, take_cards
from ml_target.engines.hailo.fit import Fit, check_fit
from ml_target.engines.hailo.health import Health
from ml_target.engines.hailo.kernel_log import kernel_words
from ml_target.engines.hailo.network import HailoNetwork
from ml_target.engines.hailo.package import explain_import
from ml_target.engines.hailo.status import (
    FILE_STATUSES,
    GONE,
    RESTART,
    describe,
    doctor,
    name_of,
    reason_of,
    remedy_of,
    status_of,
)
from ml_target.engines.hailo.turns import Turns
from ml_target.engines.hailo.versions import alike, firmware_check
from ml_target.engines.hailo.watchdog import REMEDY, STDERR, WATCH_S, bounded, in_time, with_file
from ml_target.errors import (
    EXIT_HUNG,
    BurstLost,
    CardHangs,
    DamagedFileError,
    DeviceError,
    EngineFault,
    ModelError,
    SettingsError,
)
from ml_target.hef.header import CHIP_NAMES
from ml_target.remedies import command
from ml_target.system.cards import Finding, driver_version, id_choices

log = logging.getLogger(__name__)

CLOSE_S = 15.0
"""For all models together. One whose frames have ended closes within milliseconds; HailoRT waits up to ten seconds for
a submission under way; what takes longer waits for frames that will never end, for minutes."""

SETTLE_S = 0.1
"""Between closing models and the next call that holds the GIL: HailoRT's scheduler destroys the callbacks of frames
that were in flight, needs the GIL for it, and holds a lock that such a call wants (deadlock seen in 8 of 27 trials
without a pause, in 0 of 200 with this one)."""

INTERRUPTS = "CHANNEL_INTR"
"""HailoRT 4.23's name of the thread that hears of completions; one a device."""

COOL_C = 85.0
"""After a thermal shutdown the card is opened again below this."""

COOL_DOWN_S = 300.0
STOPS_SOON_C = 100.0
"""A card that has been idle for so long and is still warmer than `COOL_C` will not become cooler by waiting: in a hot
case it is used all the same, unless it is near the temperature (104 degrees is reported) at which it slows down."""


@dataclass(frozen=True, slots=True)
class CardSettings:
    """How the card is opened. `group`: the group id under which the multi-process service shares it, "" for not."""

    batch: int = 8
    device_count: int = 1
    device_ids: tuple[str, ...] = ()
    group: str = ""


class HailoEngine:
    """Owns the device. Networks are opened one after the other at start, from one thread."""

    name = "hailo"

    def __init__(self, card: CardSettings, leave: Callable[[int], Any] = os._exit) -> None:
        try:
            import hailo_platform
            from hailo_platform.pyhailort import pyhailort
        except Exception as error:  # a version mismatch shows as almost any of them
            wrong, remedy = explain_import(error)
            raise SettingsError(wrong, f"{remedy}; or set ENGINE=cpu. `{command('doctor')}` says more.") from error
        self._hailo: Any = hailo_platform
        self._errors = (hailo_platform.HailoRTException, pyhailort._pyhailort.HailoRTStatusException)
        self._card = card
        self._leave = leave
        self._device: Any = None
        self._ids: list[str] = list(card.device_ids)
        self._firmware = ""
        self._models: dict[str, Any] = {}
        self._networks: list[HailoNetwork] = []
        self._files: dict[str, Path] = {}
        self._turns = Turns(max(card.device_count, len(card.device_ids)), shared=bool(card.group))
        self._health = Health(lambda: self._hailo.Device(*self._ids[:1]), self._errors)
        self._listeners = 0
        self._hung = ""
        self._hot_since: float | None = None
        self.chip: Chip | None = None

    @property
    def device(self) -> str:
        """The kind of card, and how many there are."""
        count = max(self._card.device_count, len(self._card.device_ids))
        kind = "Hailo-8 or 8L" if self.chip is None else CHIP_NAMES[self.chip]
        return f"{count} {kind} cards" if count > 1 else f"the {kind} card"

    # ----------------------------------------------------------------- opening

    def files(self, network: Network) -> tuple[ModelFile, ...]:
        """The file for this chip; before the device has been asked, either build's name is the same."""
        file = network.hef.get(self.chip or "hailo8")
        return () if file is None else (file,)

    def check(self, file: Path, network: Network) -> None:
        """Raises ModelError when the file cannot be this network's. Touches no device."""
        for warning in check_fit(file, network, self.chip).warnings:
            log.warning("%s", warning)

    def start(self) -> None:
        """Looks at the host, opens the device, asks which chip it is. Raises DeviceError with the remedy."""
        library = str(getattr(self._hailo, "__version__", ""))
        for finding in host_checks(ids=self._card.device_ids, count=self._card.device_count):
            _heed(finding)
        driver = driver_version()
        if not alike(library, driver):
            raise DeviceError(
                f"The driver on the host is version {driver}, HailoRT here is {library}; they must be the same",
                f"Install HailoRT {driver} (library and Python wheel), or the driver of {library} on the host.",
            )
        try:
            self._open_device()
        except self._errors as error:
            status = status_of(error)
            told = (f"The kernel's log: {each.detail}. {each.remedy}" for each in kernel_words() or ())
            raise DeviceError(reason_of(status), ". ".join([remedy_of(status), *told]) + ".") from error
        _heed(firmware_check(self._firmware, library))

    def open(self, file: Path, network: Network) -> LoadedNetwork:
        """Configures the network and tries it. Raises DamagedFileError, ModelError or DeviceError.

        The network may be one whose answers cannot be believed: its `distrust` tells.
        """
        fit = check_fit(file, network, self.chip)
        loaded = HailoNetwork(network, fit, self._card.batch, self._turns, self._make_room)
        self._files[network.name] = file
        self._networks.append(loaded)
        try:
            self._configure(loaded)
        except Exception as error:
            self._networks.remove(loaded)
            self._close([loaded])  # with a model left open the device could not be released
            if isinstance(error, self._errors):
                raise _refusal(file, status_of(error)) from error
            if isinstance(error, BurstLost):
                raise DeviceError(f"{error}, the first one that it was given", f"{RESTART}; {doctor()}.") from error
            raise
        return loaded

    def _make_room(self, network: HailoNetwork, frames: int) -> None:
        """Keeps an idle card busy for a moment while a burst is handed over.

        HailoRT's scheduler wakes at the first frame of a list: on an idle card it may send that one
        alone and the rest as a second burst, which costs a network of several contexts its whole
        overhead twice. A frame of a small network, a few milliseconds, holds it until all are there.
        """
        if frames < 2 or not network.fit.group.multi_context or any(n.in_flight for n in self._networks):
            return
        small = [n for n in self._networks if n.alive and not n.fit.group.multi_context]
        if small:
            min(small, key=lambda n: n.frame_bytes).send_blank()

    def _open_device(self) -> None:
        choices = id_choices(self._card.device_ids, self._card.device_count)
        several = max(self._card.device_count, len(self._card.device_ids)) > 1
        if several and self.chip is None:  # of an 8L, HailoRT would only say that the operation is invalid
            self._ids = choices[0]
            self.chip = self._ask_chip()
        with bounded("opening the card"):
            self._device = take_cards(self._hailo, choices, self._card.device_count, self._card.group)
        self._ids = [str(each) for each in self._device.get_physical_devices_ids()]
        if self.chip is None:  # it stays the same, and asking stops every thread where the firmware is silent
            self.chip = self._ask_chip()
        self._hot_since = None

    def _ask_chip(self) -> Chip:
        board = self._health.identify()
        self._firmware = str(board.firmware_version)
        architecture, chip = chip_of(board)
        if chip is None:
            raise DeviceError(
                f"The card is a {architecture}", "This worker drives Hailo-8 and Hailo-8L: use such a card."
            )
        if chip == "hailo8l" and max(self._card.device_count, len(self._card.device_ids)) > 1:
            raise SettingsError(
                "HailoRT joins several Hailo-8 cards, but not several Hailo-8L",
                "Set HAILO_DEVICE_COUNT=1 and start one worker for each card.",
            )
        return chip

    def _configure(self, network: HailoNetwork) -> None:
        """Makes an infer model that keeps the file's own number types, and puts it on the card."""
        formats = self._hailo.FormatType
        native = {"uint8": formats.UINT8, "uint16": formats.UINT16, "float32": formats.FLOAT32}
        model = self._device.create_infer_model(str(self._files[network.network.name]))
        _compare(network.fit, model)
        given = network.fit.input
        described = [(model.input(given.name), given)]
        described += [(model.output(stream.name), stream) for stream in network.fit.group.outputs]
        for seen, stream in described:
            seen.set_format_type(native[stream.dtype])
            if stream.order == "F8CR":  # the one order that is no plain array unless it is asked to be
                seen.set_format_order(self._hailo.FormatOrder.NHWC)
        model.set_batch_size(network.batch)
        self._models[network.network.name] = model
        self._put_on_card(network)

    def _put_on_card(self, network: HailoNetwork) -> None:
        name = network.network.name
        with bounded(f"configuring {name}", with_file(self._files[name])):
            configured = self._models[name].configure()
        network.put_on_card(configured)
        self._listeners = _threads(INTERRUPTS)

    def doubt(self, network: LoadedNetwork) -> str:
        """Why the card's answers cannot be believed, with the remedy; "" while they can."""
        return network.distrust if isinstance(network, HailoNetwork) else ""

    # ---------------------------------------------------------------- recovery

    def recover(self, network: LoadedNetwork) -> None:
        """Gets the card going again: the model alone if it is the only one lost, else everything.

        Everything, too, after what may have been a thermal stop (a burst aborted, or a hot card): HailoRT
        hears of one only once in the life of an open device, and the next one would abort nothing.

        Until every network is back, whichever was noticed: an attempt may have ended half-way.
        Raises DeviceError when it could not be done now (it may be called again), CardHangs when it
        never will be.
        """
        dead = [n for n in self._networks if not n.alive]
        if not dead:
            return  # somebody else's loss has brought it back already
        if self._hung:
            raise CardHangs(self._hung)
        try:
            self._wait_until_cool()
            if self._device is not None and self._health.gone:
                self._hangs("The driver no longer reaches the card")
            stopped = dead[0].aborted or self._hot_since is not None
            if len(dead) == 1 and not stopped and self._reconfigured(dead[0]):
                return
            self._release()
            self._open_device()
            for each in self._networks:
                self._configure(each)
        except self._errors as error:
            status = status_of(error)
            raise DeviceError(reason_of(status), f"{remedy_of(status)}.") from error

    def _reconfigured(self, network: HailoNetwork) -> bool:
        """The one network alone, on the open device; False where that is not enough."""
        if self._device is None or network.network.name not in self._models:
            return False
        try:
            self._close([network])
            self._put_on_card(network)
        except CardHangs:
            raise
        except (EngineFault, *self._errors) as error:
            if isinstance(error, self._errors) and status_of(error) in GONE:
                self._hangs(f"The driver no longer reaches the card ({describe(error)})")
            log.warning("reconfiguring was not enough (%s); opening the card anew", error)
            return False
        if network.distrust:
            log.warning("%s cannot be believed after reconfiguring; opening the card anew", network.network.name)
        return not network.distrust

    def _wait_until_cool(self) -> None:
        """After a thermal shutdown opening again at once would only end in the next one."""
        temperature = self._health.readings(fresh=True).get("temperature_c")
        if temperature is None or temperature <= COOL_C:
            return
        now = time.monotonic()
        if self._hot_since is None:
            self._hot_since = now
        if temperature > STOPS_SOON_C or now - self._hot_since < COOL_DOWN_S:
            raise DeviceError(
                f"The card has {temperature:.0f} degrees and is left alone until it is below {COOL_C:.0f} (or, below "
                f"{STOPS_SOON_C:.0f}, for {COOL_DOWN_S / 60:.0f} minutes)",
                "Give it a heat sink or more air.",
            )

    # ---------------------------------------------------------------- teardown

    def close(self) -> None:
        """Releases everything, in the order HailoRT needs; leaves the process when that hangs."""
        try:
            if not self._hung:
                self._release()
        except CardHangs as error:
            log.critical("%s", error)
        if self._hung:
            self._leave(EXIT_HUNG)

    def _release(self) -> None:
        """Models, infer models, device. Raises CardHangs."""
        self._close(self._networks)
        self._models.clear()
        self._listeners = 0
        device, self._device = self._device, None
        with bounded("releasing the card"):
            if device is not None:
                self._let_go(device.release)
            self._let_go(self._health.release)
            del device
            gc.collect()  # a forgotten reference would keep the card

    def _let_go(self, release: Callable[[], None]) -> None:
        try:
            release()
        except self._errors as error:
            log.warning("releasing the card: %s", error)

    def _close(self, networks: Sequence[HailoNetwork]) -> None:
        """Closes configured models, then leaves the GIL for a moment. Raises CardHangs."""
        if _threads(INTERRUPTS) < self._listeners:  # before the return: releasing the device would hang as well
            self._hangs("HailoRT's interrupt thread has ended: the card was away, if only for a moment")
        if not any(network.on_card for network in networks):
            return
        closed = threading.Event()

        def close() -> None:
            try:
                for network in networks:
                    network.close()
            finally:
                closed.set()

        with bounded("closing models", CLOSE_S + WATCH_S):  # the end of a destructor holds the GIL
            threading.Thread(target=close, name="teardown", daemon=True).start()
            if not in_time(closed, CLOSE_S):
                self._hangs(f"HailoRT did not close a model within {CLOSE_S:g} s: the card no longer answers")
        time.sleep(SETTLE_S)

    def _hangs(self, what: str) -> NoReturn:
        """Raises CardHangs; the log gets the stacks, for whoever looks into it."""
        faulthandler.dump_traceback(STDERR)
        self._hung = (
            f"{what}. Only a new process can use it again, so this one ends with status {EXIT_HUNG}, the stacks of "
            f"its threads above: {REMEDY}."
        )
        raise CardHangs(self._hung)

    # ------------------------------------------------------------------ health

    def health(self) -> dict[str, float]:
        """`temperature_c` and `power_w`, where the card tells them; asked for rarely. Blocks."""
        return self._health.readings()


def _refusal(file: Path, status: int) -> DamagedFileError | DeviceError:
    """A file that HailoRT does not take is no fault of the card's, and keeps no other network off it."""
    if status in FILE_STATUSES:
        return DamagedFileError(f"{file} is refused: HailoRT reports {name_of(status)}", remedy_of(status))
    return DeviceError(f"{file.name}: {reason_of(status)}", f"{remedy_of(status)}.")


def _heed(finding: Finding) -> None:
    """Logs what was found of the host. Raises DeviceError for what is wrong."""
    if finding.ok is False:
        raise DeviceError(f"{finding.what}: {finding.detail}", f"{finding.remedy}.")
    remedy = f"-> {finding.remedy}" if finding.remedy else ""
    log.log(logging.INFO if finding.ok else logging.WARNING, "%s: %s %s", finding.what, finding.detail, remedy)


def _threads(name: str) -> int:
    """How many threads of this process have this name, HailoRT's own included."""
    found = 0
    for comm in Path("/proc/self/task").glob("*/comm"):
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found += comm.read_text().strip() == name
    return found


def _compare(fit: Fit, model: Any) -> None:
    """The library must see the streams that the file's own description promised."""

    def streams(described: Sequence[Any]) -> dict[str, int]:
        sizes: dict[str, int] = {}
        for stream in described:
            size = 1
            for side in stream.shape:
                size *= int(side)
            sizes[str(stream.name)] = size
        return sizes

    seen = (streams(model.inputs), streams(model.outputs))
    read = (streams(fit.group.inputs), streams(fit.group.outputs))
    if seen != read:
        raise ModelError(
            f"HailoRT sees the streams {seen}, the file describes {read}", "Please report it with the file."
        )
