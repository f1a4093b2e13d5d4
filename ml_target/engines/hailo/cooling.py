"""When a card that became too hot may be opened again."""

import time
from collections.abc import Callable

from ml_target.errors import DeviceError

COOL_C = 85.0
"""After a thermal shutdown the card is opened again below this."""

COOL_DOWN_S = 300.0
STOPS_SOON_C = 100.0
"""A card that has been idle for so long and is still warmer than `COOL_C` will not become cooler by waiting: in a hot
case it is used all the same, unless it is near the temperature (104 degrees is reported) at which it slows down."""


class Cooling:
    """Whether a card is left alone, and since when. `hot`: it was too warm since it was last opened."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None

    @property
    def hot(self) -> bool:
        return self._since is not None

    def require(self, temperature: float | None) -> None:
        """Raises DeviceError for a card that should be left alone; `temperature` None where it is not told.

        After a thermal shutdown opening again at once would only end in the next one.
        """
        if temperature is None or temperature <= COOL_C:
            return
        now = self._clock()
        if self._since is None:
            self._since = now
        if temperature > STOPS_SOON_C or now - self._since < COOL_DOWN_S:
            raise DeviceError(
                f"The card has {temperature:.0f} degrees and is left alone until it is below {COOL_C:.0f} (or, below "
                f"{STOPS_SOON_C:.0f}, for {COOL_DOWN_S / 60:.0f} minutes)",
                "Give it a heat sink or more air.",
            )

    def opened(self) -> None:
        """The card has been opened anew."""
        self._since = None
