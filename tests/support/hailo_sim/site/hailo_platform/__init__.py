"""`hailo_platform` for a process of its own: put the folder above this one on PYTHONPATH.

HAILO_SIM_LINK     fast | slow
HAILO_SIM_CHIP     hailo8 | hailo8l
HAILO_SIM_CLOCK    real | virtual | a speed such as 4
HAILO_SIM_CARDS    how many, 0 for none
HAILO_SIM_NODES    which of them have a device node here, such as 0,2; all when left out
HAILO_SIM_SENSOR   of power: plain | m2 (warns at every reading) | none
HAILO_SIM_DRIVER   the driver's version; "none" for no driver
HAILO_SIM_HELD_BY  a file: processes with the same one share the cards, so only one can hold them
HAILO_SIM_FAULTS   faults from the start: refuse_open:2:74,fail_frames:scrfd_2.5g:3
HAILO_SIM_CONTROL  a socket's path on which `hailo_sim.remote` changes faults and reads counts
HAILO_SIM_REMEMBER a folder for the answers of real networks: of all processes that have it, only the first runs a frame
HAILO_SIM_SERVICE  the hailort_service: off | on | old
HAILO_SIM_LIST_SPLIT  1 (default): the scheduler wakes at a list's first frame; 0: after its last
HAILO_SIM_CRASH    abort (default) | raise; a deadlock holds the GIL for ever, or is noted
"""

import importlib.util
import sys
from pathlib import Path

if "hailo_sim" not in sys.modules:  # the package may not be on the path, and needs nothing else of its folder
    _folder = Path(__file__).resolve().parents[2]
    _spec = importlib.util.spec_from_file_location(
        "hailo_sim", _folder / "__init__.py", submodule_search_locations=[str(_folder)]
    )
    assert _spec is not None
    assert _spec.loader is not None
    _package = importlib.util.module_from_spec(_spec)
    sys.modules["hailo_sim"] = _package
    _spec.loader.exec_module(_package)

from hailo_sim.environment import install_from_environment

install_from_environment()
