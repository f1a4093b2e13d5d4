"""When an overheated card may be opened again."""

import time
from collections.abc import Callable

from ml_target.errors import DeviceError

COOL_C = 85.0
"""After a thermal shutdown, the card is opened again below this temperature."""

COOL_DOWN_S = 300.0
STOPS_SOON_C = 100.0
"""A card that has been idle for `COOL_DOWN_S` and is still warmer than `COOL_C`, as in a hot case, will not get cooler
by waiting: it is used all the same, unless it is near the temperature at which it slows down (reported: 104 degrees).
"""


class Cooling:
    """Whether a card is left idle to cool, and since when. `hot`: it has been too hot since it was last opened."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None

    @property
    def hot(self) -> bool:
        return self._since is not None

    def require(self, temperature: float | None) -> None:
        """Raises DeviceError for a card that has to cool first. `temperature`: None if it is unknown.

        Opening again right after a thermal shutdown would only cause the next one.
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
        """The card has been opened again."""
        self._since = None
