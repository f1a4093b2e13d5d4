"""A simulator of the Python module `hailo_platform`, HailoRT 4.23, with cards, a clock and faults.

    with simulated(Rig(link="slow", clock="virtual")) as rig:
        import hailo_platform
        ...
        rig.faults.kill("scrfd_2.5g")
        assert rig.record.models["scrfd_2_5g"].bursts[8] == 3

Networks come from files that `build.py` writes. A separate process gets the same by
`PYTHONPATH=tests/support/hailo_sim/site` and the variables that `site/hailo_platform` names.

Where docs/hailort.md is silent, it is like this:
- Calls that hold the GIL on a card really hold it, for as long as `faults.slow` says; else they are quick.
- A deadlock is noted in `record.crashes`; where crashes abort, it is one: the GIL is held for ever.
- configure() within 50 ms of closing a model with frames in flight always deadlocks (the library: 8 of 27 times).
- A write into an array that was let go is noted: the simulator does not keep arrays, the binding's guards do.
- A thermal stop tells every third model; a card that is gone never hears of completions again, even if it is back.
- The card computes on the host, one frame after the other: where that takes longer than the card
  would, the card is late. Networks from tables take the card's time alone.
- A list of frames on an idle device runs as 1 and N - 1 (`list_split`), the worst case.
- A burst that hangs holds its card until its pipeline is dropped; "stubborn" ones until reopening; one that is
  lost lets the card go on. None of them is called back before its model is closed.
- Two first submissions at once are noted in `record.crashes`; the process lives on unless it shall abort.
- Frames beyond the queue count as requested.
- The legacy synchronous API, NMS outputs, MIPI and Ethernet are names only, or not there.
"""

from hailo_sim.faults import Faults
from hailo_sim.hef_file import NativeCrash
from hailo_sim.modules import install, simulated
from hailo_sim.record import Burst, ModelRecord, Record
from hailo_sim.rig import LIBRARY_VERSION, Rig

__all__ = [
    "LIBRARY_VERSION",
    "Burst",
    "Faults",
    "ModelRecord",
    "NativeCrash",
    "Record",
    "Rig",
    "install",
    "simulated",
]
