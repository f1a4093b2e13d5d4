"""What the arbiter of a device tells of its bursts. Everything is called on the event loop's thread."""

from typing import Literal, get_args

Fault = Literal["burst_lost", "frame_failed", "untrusted", "card_hangs", "unexpected"]
"""What can go wrong with a burst: the device lost it; its engine failed on it; its answers are not trusted; a call into
the device does not return; anything else."""

FAULTS: tuple[Fault, ...] = get_args(Fault)

RecoveryKind = Literal["already_back", "reconfigured", "reopened"]
"""What it took to get a lost device back, the least first: nothing, as an earlier recovery had done it; that the one
network was put onto it again; that the device was reopened, with all its networks."""

RECOVERIES: tuple[RecoveryKind, ...] = get_args(RecoveryKind)


class Observer:
    """Listens to nothing; `figures.recorder` listens."""

    def queue(self, network: str) -> None:
        """There is a queue for this network."""

    def waiting(self, network: str, frames: int) -> None:
        """So many frames wait for this network from now on."""

    def burst(self, network: str, frames: int, seconds: float) -> None:
        """A burst has been answered; it took the device `seconds`."""

    def fault(self, network: str, kind: Fault, seconds: float) -> None:
        """A burst was not answered; it took the device `seconds`."""

    def lost(self) -> None:
        """The device is being recovered from now on."""

    def back(self, kind: RecoveryKind) -> None:
        """The device has been recovered, in this way."""
