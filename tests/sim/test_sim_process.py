"""The simulator in a process of its own, and the root folder of a computer with cards."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hailo_sim.build import tiny
from hailo_sim.environment import rig_of
from hailo_sim.remote import RemoteRig
from hailo_sim.sysfs import make_root
from project import PROJECT

from ml_target.engines.hailo.checks import host_checks
from ml_target.system.finding import Finding

SITE = PROJECT / "tests" / "support" / "hailo_sim" / "site"
OPEN = """
import hailo_platform as hailo
from hailo_platform.pyhailort.pyhailort import HailoRTTimeout
params = hailo.VDevice.create_params()
params.scheduling_algorithm = hailo.HailoSchedulingAlgorithm.ROUND_ROBIN
try:
    device = hailo.VDevice(params)
except hailo.HailoRTException as error:
    print(error, flush=True)
    raise SystemExit(3)
print(hailo.__version__, device.get_physical_devices_ids(), flush=True)
"""
SERVE = """
import sys, numpy, threading
model = device.create_infer_model(sys.argv[1])
with model.configure() as configured:
    for line in sys.stdin:
        done, failed = threading.Event(), []
        def ended(completion_info):
            failed.append(completion_info.exception)
            done.set()
        given = {model.input().name: numpy.zeros((2, 2, 3), numpy.uint8)}
        taken = {model.output().name: numpy.zeros(8, numpy.uint8)}
        configured.run_async([configured.create_bindings(given, taken)], ended)
        done.wait(5)
        print(type(failed[0]).__name__, flush=True)
device.release()
"""


def start(code: str, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HAILO_SIM")}
    environment |= {"PYTHONPATH": os.pathsep.join([str(SITE), str(PROJECT)]), **variables}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_faults_and_counts_from_outside(tmp_path: Path) -> None:
    hef, control = tmp_path / "tiny.hef", tmp_path / "control"
    hef.write_bytes(tiny())
    variables = {"HAILO_SIM_CLOCK": "100", "HAILO_SIM_FAULTS": "fail_frames:tiny:1:4"}
    with start(OPEN + SERVE, str(hef), HAILO_SIM_CONTROL=str(control), **variables) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def ask() -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        assert process.stdout.readline().strip() == "4.23.0 ['0000:01:00.0']"
        assert [ask(), ask()] == ["HailoRTTimeout", "NoneType"]
        remote = RemoteRig(control)
        remote.fault("fail_frames", "tiny", count=1, status=36)
        assert [ask(), ask()] == ["HailoRTDriverOperationFailedException", "NoneType"]
        counts = remote.counts()
        assert counts["models"]["tiny"]["bursts"] == {"1": 4}
        assert counts["models"]["tiny"]["failed"] == 2
        assert counts["busy"]["0000:01:00.0"] > 0
        with pytest.raises(ValueError, match="no_such_fault"):
            remote.fault("no_such_fault")
        process.stdin.close()
        assert process.wait(10) == 0


def test_processes_exclude_each_other_until_one_is_killed(tmp_path: Path) -> None:
    """The mark goes with the process, after SIGKILL too."""
    mark = str(tmp_path / "hailo0")
    with start(OPEN + "input()", HAILO_SIM_HELD_BY=mark) as holder:
        assert holder.stdout is not None
        assert "4.23.0" in holder.stdout.readline()
        with start(OPEN, HAILO_SIM_HELD_BY=mark) as second:
            out, _ = second.communicate(timeout=20)
            assert (second.returncode, "74 (HAILO_OUT_OF_PHYSICAL_DEVICES)" in out) == (3, True)
        holder.kill()
        holder.wait(10)
    with start(OPEN, HAILO_SIM_HELD_BY=mark) as third:
        assert "4.23.0" in third.communicate(timeout=20)[0]


def test_the_wheel_is_there_too() -> None:
    with start("import importlib.metadata as m; print(m.version('hailort'))") as process:
        assert process.communicate(timeout=20)[0] == "4.23.0\n"


def test_a_native_crash_takes_the_process_down() -> None:
    with start("import hailo_platform; hailo_platform.HEF(b'')") as process:
        assert process.wait(20) == -6


@pytest.mark.parametrize(
    ("variables", "what"),
    [
        ({"HAILO_SIM_LINK": "slow"}, ("slow", "hailo8", 1)),
        ({"HAILO_SIM_CHIP": "hailo8l", "HAILO_SIM_CARDS": "0"}, ("fast", "hailo8l", 0)),
    ],
)
def test_variables(variables: Mapping[str, str], what: tuple[str, str, int]) -> None:
    rig = rig_of(variables)
    assert (rig.link, rig.chip, rig.cards) == what


def test_variables_refused() -> None:
    with pytest.raises(ValueError, match="HAILO_SIM_LINK=medium, one of fast, slow is wanted"):
        rig_of({"HAILO_SIM_LINK": "medium"})
    assert rig_of({"HAILO_SIM_DRIVER": "none"}).driver_version is None


def test_scaled_clock() -> None:
    rig = rig_of({"HAILO_SIM_CLOCK": "1000"})
    start = rig.clock.now()
    time.sleep(0.01)
    assert rig.clock.now() - start >= 10


# ------------------------------------------------------------------- root folder


def wrong(root: Path) -> list[str]:
    """What the checks before opening find wrong there."""
    found: list[Finding] = host_checks(root, {"HAILORT_LOGGER_PATH": "NONE"}, page_size=4096)
    return [finding.what for finding in found if finding.ok is False]


def test_a_whole_computer(tmp_path: Path) -> None:
    assert wrong(make_root(tmp_path / "one")) == []
    assert wrong(make_root(tmp_path / "two", cards=2)) == []
    assert host_checks(make_root(tmp_path / "none", cards=0, driver=None), {}, 4096) == []


def test_a_computer_that_lacks_something(tmp_path: Path) -> None:
    assert wrong(make_root(tmp_path / "driver", driver=None)) != []
    assert "driver" in wrong(make_root(tmp_path / "unbound", bound=False))
    assert "device node" in wrong(make_root(tmp_path / "nodes", nodes=0))
    assert "sysfs" in wrong(make_root(tmp_path / "masked", class_visible=False))
    assert "card" in wrong(make_root(tmp_path / "other", chip_id="0x45c4"))
