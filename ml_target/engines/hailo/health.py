"""The card's own readings, taken rarely: each one holds the GIL until the firmware has answered.

A firmware that does not answer stops every thread of the process for its timeout of one second, so
it is not asked again for a minute, then for longer. A driver that never returns stops them for ever,
so the process ends (`watchdog.py`). A board without a power sensor fills HailoRT's log at every
reading, and a reading suspends the over-current protection of M.2 modules for a moment: power is
read seldom, and never again after the first failure.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from ml_target.engines.hailo.status import GONE, describe, status_of
from ml_target.engines.hailo.watchdog import bounded

log = logging.getLogger(__name__)

ASKING = "asking the card"
"""What the log says should it hang; not each time, as it is asked often."""

TEMPERATURE_EVERY_S = 15.0
POWER_EVERY_S = 60.0

SILENT_S = 60.0
"""A firmware that did not answer is asked again after this time; it doubles with each failure."""

LONGEST_SILENT_S = 3600.0


class Health:
    """Temperature, power and identity of one card.

    `open_device`: returns a `Device`. It is kept in a variable: a temporary one is released at once,
    and its control with it. `errors`: what HailoRT raises.
    """

    def __init__(
        self,
        open_device: Callable[[], Any],
        errors: tuple[type[Exception], ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_device = open_device
        self._errors: tuple[type[Exception], ...] = (*errors, AttributeError)
        self._clock = clock
        self._device: Any = None
        self._lock = threading.Lock()
        self._readings: dict[str, float] = {}
        self._next_temperature = self._next_power = 0.0
        self._power = True
        self._silence = 0.0
        self._silent_until = 0.0
        self.gone = False
        """Whether the driver no longer reached the card when its temperature was last asked for."""

    def identify(self) -> Any:
        """The board's own description. Raises what HailoRT raises."""
        with self._lock, bounded(ASKING):
            return self._control().identify()

    def readings(self, *, fresh: bool = False) -> dict[str, float]:
        """`temperature_c` and `power_w`, where the card reports them. `fresh`: reads the temperature now. Blocks."""
        with self._lock:
            now = self._clock()
            if now >= self._silent_until and (fresh or now >= self._next_temperature):
                with bounded(ASKING, level=logging.DEBUG):
                    self._ask(now)
            return dict(self._readings)

    def release(self) -> None:
        """Releases the device; the next reading opens it again. Raises what HailoRT raises."""
        with self._lock:
            device, self._device = self._device, None
            self._readings, self.gone = {}, False
            self._next_temperature = self._next_power = 0.0
            if device is not None:
                device.release()

    def _control(self) -> Any:
        if self._device is None:
            self._device = self._open_device()
        return self._device.control

    def _ask(self, now: float) -> None:
        self._next_temperature = now + TEMPERATURE_EVERY_S
        try:
            reading = self._control().get_chip_temperature()
        except self._errors as error:
            self.gone = status_of(error) in GONE
            self._fell_silent(error)
            return
        self.gone = False
        self._silence = 0.0
        hottest = max(float(reading.ts0_temperature), float(reading.ts1_temperature))
        self._readings["temperature_c"] = round(hottest, 2)
        if self._power and now >= self._next_power:
            self._next_power = now + POWER_EVERY_S
            self._ask_power()

    def _ask_power(self) -> None:
        try:
            self._readings["power_w"] = round(float(self._control().power_measurement()), 2)
        except self._errors as error:
            self._power = False
            self._readings.pop("power_w", None)
            log.info("this board does not report its power (%s); it is not asked again", describe(error))

    def _fell_silent(self, error: Exception) -> None:
        """Old readings must not stand for new ones."""
        self._readings = {}
        self._silence = min(LONGEST_SILENT_S, self._silence * 2 or SILENT_S)
        self._silent_until = self._clock() + self._silence
        log.warning(
            "the card does not report its temperature (%s); it is asked again in %g s, for each such question stops "
            "every thread for a second. If it goes on, power the host off and on.",
            describe(error),
            self._silence,
        )
