"""A simulator of the Python module `hailo_platform`, HailoRT 4.23, with cards, a clock and faults.

    with simulated(Rig(link="slow", clock="virtual")) as rig:
        import hailo_platform
        ...
        rig.faults.kill("scrfd_2.5g")
        assert rig.record.models["scrfd_2_5g"].bursts[8] == 3

Networks come from files that `build.py` writes. A separate process gets the same by
`PYTHONPATH=tests/hailo_sim/site` and the variables that `site/hailo_platform` names.
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
