"""The Hailo engine: one card (or several as one), every network configured once and kept.

Opening, recovery and teardown follow how HailoRT 4.2x behaves: the scheduler is asked for
explicitly (the binding's default is none); configured models go before infer models, those before
the device; a teardown that hangs keeps the device for ever, so the process leaves instead.
"""

import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_target.catalogue.types import Chip, ModelFile, Network
from ml_target.engines import LoadedNetwork
from ml_target.engines.hailo_checks import host_checks
from ml_target.engines.hailo_device import take_cards
from ml_target.engines.hailo_kernel_log import kernel_words
from ml_target.engines.hailo_network import HailoNetwork
from ml_target.engines.hailo_versions import alike, firmware_check
from ml_target.errors import DeviceError, EngineFault, ModelError, SettingsError
from ml_target.hailo_host import Finding, driver_version, id_choices
from ml_target.hailo_package import explain_import
from ml_target.hailo_status import explain, status_of
from ml_target.hef_fit import Fit, check_fit

log = logging.getLogger(__name__)

TEARDOWN_S = 30.0
"""HailoRT's own shutdown may wait ten seconds a stage."""

EXIT_HUNG = 70
"""Exit status of a process that leaves because the card cannot be released; the container manager restarts it."""

COOL_C = 85.0
"""After a thermal shutdown the card is opened again below this."""

HEALTH_EVERY_S = 15.0
"""Temperature and power are asked for this often at most: each is a round trip to the firmware that holds the GIL."""


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
            raise SettingsError(
                f"{wrong}. {remedy}; or set ENGINE=cpu. `python3 -m ml_target.doctor` says more."
            ) from error
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
        self._health: dict[str, float] = {}
        self._health_at = -HEALTH_EVERY_S
        self._control: Any = None
        self.chip: Chip | None = None

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
                f"The driver on the host is version {driver}, HailoRT here is {library}; they must be the same. "
                f"Install HailoRT {driver} (library and Python wheel), or the driver of {library} on the host."
            )
        try:
            self._open_device()
        except self._errors as error:
            told = "".join(f" The kernel's log: {each.detail}. {each.remedy}." for each in kernel_words() or ())
            raise DeviceError(explain(status_of(error)) + told) from error
        _heed(firmware_check(self._firmware, library))

    def open(self, file: Path, network: Network) -> LoadedNetwork:
        """Configures the network and runs it once. Raises ModelError or DeviceError."""
        fit = check_fit(file, network, self.chip)
        loaded = HailoNetwork(network, fit, self._card.batch, self._make_room)
        self._files[network.name] = file
        try:
            self._configure(loaded)
        except self._errors as error:
            raise DeviceError(f"{file.name}: {explain(status_of(error))}") from error
        self._networks.append(loaded)
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
        if several:  # of an 8L, HailoRT would only say that the operation is invalid
            self._ids = choices[0]
            self.chip = self._ask_chip()
        self._device = take_cards(self._hailo, choices, self._card.device_count, self._card.group)
        self._ids = [str(each) for each in self._device.get_physical_devices_ids()]
        if not several:
            self.chip = self._ask_chip()

    def _ask_chip(self) -> Chip:
        board = self._control_device().control.identify()
        self._firmware = str(board.firmware_version)
        architecture = str(board.device_architecture).rpartition(".")[2].upper().replace("_", "")
        chips: dict[str, Chip] = {"HAILO8": "hailo8", "HAILO8L": "hailo8l"}
        if architecture not in chips:
            raise DeviceError(
                f"The card is a {architecture}. This worker drives Hailo-8 and Hailo-8L: use such a card."
            )
        if architecture == "HAILO8L" and max(self._card.device_count, len(self._card.device_ids)) > 1:
            raise SettingsError(
                "HailoRT joins several Hailo-8 cards, but not several Hailo-8L. Set HAILO_DEVICE_COUNT=1 and "
                "start one worker for each card."
            )
        return chips[architecture]

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
        network.put_on_card(model.configure())

    # ---------------------------------------------------------------- recovery

    def recover(self, network: LoadedNetwork) -> None:
        """Gets the card going again: the model alone if it is the only one lost, else everything.

        Until every network is back, whichever was noticed: an attempt may have ended half-way.
        Raises DeviceError when it could not be done now; it may be called again.
        """
        dead = [n for n in self._networks if not n.alive]
        if not dead:
            return  # somebody else's loss has brought it back already
        try:
            if self._device is not None and len(dead) == 1 and dead[0].network.name in self._models:
                try:
                    self._reconfigure(dead[0])
                    return
                except (EngineFault, *self._errors) as error:
                    log.warning("reconfiguring was not enough (%s); opening the card anew", error)
            self._release()
            self._wait_until_cool()
            self._open_device()
            for each in self._networks:
                self._configure(each)
        except self._errors as error:
            raise DeviceError(explain(status_of(error))) from error

    def _reconfigure(self, network: HailoNetwork) -> None:
        self._bounded(network.close)
        network.put_on_card(self._models[network.network.name].configure())

    def _wait_until_cool(self) -> None:
        """After a thermal shutdown opening again at once would only end in the next one."""
        self._health_at = -HEALTH_EVERY_S
        temperature = self.health().get("temperature_c")
        if temperature is not None and temperature > COOL_C:
            raise DeviceError(
                f"The card has {temperature:.0f} degrees and is left alone until it is below {COOL_C:.0f}. "
                "Give it a heat sink or more air."
            )

    # ---------------------------------------------------------------- teardown

    def close(self) -> None:
        """Releases everything, in the order HailoRT needs; leaves the process when that hangs."""
        self._release()

    def _release(self) -> None:
        def everything() -> None:
            for network in self._networks:
                network.close()
            self._models.clear()
            device, self._device = self._device, None
            control, self._control = self._control, None
            for each in (device, control):
                if each is not None:
                    each.release()
            gc.collect()  # a forgotten reference would keep the card

        self._bounded(everything)

    def _bounded(self, work: Callable[[], None]) -> None:
        """Runs a teardown in a thread; when it hangs, only leaving the process frees the card."""
        failed: list[Exception] = []

        def run() -> None:
            try:
                work()
            except Exception as error:
                failed.append(error)

        thread = threading.Thread(target=run, name="teardown", daemon=True)
        thread.start()
        thread.join(TEARDOWN_S)
        if thread.is_alive():
            log.critical("the card was not released within %g s; leaving so that it is freed", TEARDOWN_S)
            self._leave(EXIT_HUNG)
        for error in failed:
            log.warning("releasing the card: %s", error)

    # ------------------------------------------------------------------ health

    def _control_device(self) -> Any:
        if self._control is None:
            self._control = self._hailo.Device(*self._ids[:1])
        return self._control

    def health(self) -> dict[str, float]:
        """`temperature_c` and `power_w`, where the card tells them; asked for rarely. Blocks."""
        if time.monotonic() - self._health_at >= HEALTH_EVERY_S:
            self._health_at = time.monotonic()
            readings = {"temperature_c": self._reading(_temperature), "power_w": self._reading(_power)}
            self._health = {name: round(value, 2) for name, value in readings.items() if value is not None}
        return self._health

    def _reading(self, read: Callable[[Any], float]) -> float | None:
        try:
            return float(read(self._control_device().control))
        except (*self._errors, AttributeError):
            return None  # many boards have no power sensor


def _heed(finding: Finding) -> None:
    """Logs what was found of the host. Raises DeviceError for what is wrong."""
    if finding.ok is False:
        raise DeviceError(f"{finding.what}: {finding.detail}. {finding.remedy}.")
    remedy = f"-> {finding.remedy}" if finding.remedy else ""
    log.log(logging.INFO if finding.ok else logging.WARNING, "%s: %s %s", finding.what, finding.detail, remedy)


def _temperature(control: Any) -> float:
    reading = control.get_chip_temperature()
    return max(float(reading.ts0_temperature), float(reading.ts1_temperature))


def _power(control: Any) -> float:
    return float(control.power_measurement())


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
        raise ModelError(f"HailoRT sees the streams {seen}, the file describes {read}. Please report it with the file.")
