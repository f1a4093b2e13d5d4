"""The card that this process holds (or several used as one): opening, identifying and releasing it."""

import gc
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_target.catalogue.types import Chip
from ml_target.engines.hailo.device import chip_of, take_cards
from ml_target.engines.hailo.fit import Fit
from ml_target.engines.hailo.health import Health
from ml_target.engines.hailo.package import explain_import
from ml_target.engines.hailo.status import doctor
from ml_target.engines.hailo.watchdog import bounded
from ml_target.errors import DeviceError, ModelError, SettingsError
from ml_target.hailort.load import import_hailort
from ml_target.hailort.packages import FOLDER
from ml_target.hef.header import CHIP_NAMES
from ml_target.system.cards import OTHER_CHIP, Card, cards, full_address, id_choices

log = logging.getLogger(__name__)

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class CardSettings:
    """How the card is opened. `group`: the group id under which the multi-process service shares it; "" for none.

    `packages`: the folder in which HailoRT's packages may lie, in one version or several.
    """

    batch: int = 32
    device_count: int = 1
    device_ids: tuple[str, ...] = ()
    group: str = ""
    packages: Path = FOLDER

    @property
    def cards(self) -> int:
        """How many cards are used as one."""
        return max(self.device_count, len(self.device_ids))


class HeldCard:
    """HailoRT's virtual device. `errors`: what HailoRT raises; `chip`, `firmware`: known once it has been open.

    Raises SettingsError where HailoRT's package cannot be imported.
    """

    def __init__(self, settings: CardSettings, clock: Clock = time.monotonic) -> None:
        try:
            hailo_platform = import_hailort(settings.packages)
            from hailo_platform.pyhailort import pyhailort
        except Exception as error:  # a version mismatch shows as almost any of them
            wrong, remedy = explain_import(error)
            raise SettingsError(wrong, f"{remedy}; or set ENGINE=cpu. {doctor()}.") from error
        self._hailo: Any = hailo_platform
        self.errors: tuple[type[Exception], ...] = (
            hailo_platform.HailoRTException,
            pyhailort._pyhailort.HailoRTStatusException,
        )
        self._settings = settings
        self._device: Any = None
        self._ids: list[str] = list(settings.device_ids)
        self.health = Health(lambda: self._hailo.Device(*self._ids[:1]), self.errors, clock)
        self.library = str(getattr(hailo_platform, "__version__", ""))
        self.firmware = ""
        self.chip: Chip | None = None

    @property
    def words(self) -> str:
        """The kind of card, and how many there are."""
        count = self._settings.cards
        kind = "Hailo-8 or 8L" if self.chip is None else CHIP_NAMES[self.chip]
        return f"{count} {kind} cards" if count > 1 else f"the {kind} card"

    def cards(self) -> list[Card]:
        """Those that were taken, as the bus shows them; every one of the driver's while that is not known."""
        ids = {full_address(each) for each in self._ids}
        return [card for card in cards() if card.driven and (not ids or card.address in ids)]

    @property
    def is_open(self) -> bool:
        return self._device is not None

    def open(self) -> None:
        """Takes the cards. Raises HailoRT's errors, DeviceError for a chip of another kind, SettingsError."""
        choices = id_choices(self._settings.device_ids, self._settings.device_count)
        if self._settings.cards > 1 and self.chip is None:  # of an 8L, HailoRT would only say that it is invalid
            self._ids = choices[0]
            self.chip = self._ask_chip()
        with bounded("opening the card"):
            self._device = take_cards(self._hailo, choices, self._settings.device_count, self._settings.group)
        self._ids = [str(each) for each in self._device.get_physical_devices_ids()]
        if self.chip is None:  # it stays the same, and asking stops every thread where the firmware is silent
            self.chip = self._ask_chip()

    def infer_model(self, file: Path, fit: Fit, batch: int) -> Any:
        """HailoRT's model of the file, which keeps the file's own data types. Raises ModelError, HailoRT's errors."""
        formats = self._hailo.FormatType
        native = {"uint8": formats.UINT8, "uint16": formats.UINT16, "float32": formats.FLOAT32}
        model = self._device.create_infer_model(str(file))
        _compare(fit, model)
        described = [(model.input(fit.input.name), fit.input)]
        described += [(model.output(stream.name), stream) for stream in fit.group.outputs]
        for seen, stream in described:
            seen.set_format_type(native[stream.dtype])
            if stream.order == "F8CR":  # the only order that is not a plain array unless asked for as one
                seen.set_format_order(self._hailo.FormatOrder.NHWC)
        model.set_batch_size(batch)
        return model

    def release(self) -> None:
        """Releases the card, after all its models: otherwise it hangs. HailoRT's errors go to the log."""
        device, self._device = self._device, None
        with bounded("releasing the card"):
            if device is not None:
                self._let_go(device.release)
            self._let_go(self.health.release)
            del device
            gc.collect()  # a leftover reference would keep the card

    def _let_go(self, release: Callable[[], None]) -> None:
        try:
            release()
        except self.errors as error:
            log.warning("releasing the card: %s", error)

    def _ask_chip(self) -> Chip:
        board = self.health.identify()
        self.firmware = str(board.firmware_version)
        architecture, chip = chip_of(board)
        if chip is None:
            raise DeviceError(f"The card is a {architecture}", f"{OTHER_CHIP}.")
        if chip == "hailo8l" and self._settings.cards > 1:
            raise SettingsError(
                "HailoRT joins several Hailo-8 cards, but not several Hailo-8L",
                "Set HAILO_DEVICE_COUNT=1 and start one worker for each card.",
            )
        return chip


def _compare(fit: Fit, model: Any) -> None:
    """The library must see the same streams as the file's own description."""

    def streams(described: Any) -> dict[str, int]:
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
