"""What of HailoRT may hang, and how the Hailo engine closes, or leaves, within its bounds."""

import importlib
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hailo_engines import SMALL, Engines, lose, pictures, quick
from hailo_sim import Rig, simulated
from hailo_worker import wait_until

from ml_target.engines.hailo import closing as hailo_closing
from ml_target.engines.hailo import watchdog as hailo_watchdog
from ml_target.engines.hailo.network import HailoNetwork
from ml_target.engines.hailo.watchdog import in_time, with_file
from ml_target.errors import (
    EXIT_HUNG,
    CardHangs,
    DeviceError,
)

pytestmark = pytest.mark.usefixtures("no_card_here")


def test_a_card_that_is_gone_is_told_before_anything_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its interrupt thread has ended: the next configure() would freeze the process, so it does not come to that."""
    quick(monkeypatch)
    with simulated(Rig()) as rig:
        others = hailo_closing.threads_named(hailo_closing.INTERRUPTS)  # of a card that an earlier test has just closed
        engine, small, _ = Engines(tmp_path).both()
        wait_until(lambda: hailo_closing.threads_named(hailo_closing.INTERRUPTS) == others + 1)
        small.run(pictures(1))
        rig.faults.vanish()
        lose(small)
        rig.faults.unplug(False)  # away for a moment only: worse than for ever
        with pytest.raises(CardHangs, match=r"interrupt thread has ended.*Only a new process"):
            engine.recover(small)
        assert not rig.record.crashes
        rig.faults.free_teardown()


def test_a_card_that_is_gone_is_told_before_a_release_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no model is on the card any more: an attempt to put the only one back has failed."""
    with simulated(Rig()) as rig:
        engines = Engines(tmp_path)
        engine = engines.start()
        only = engine.open(engines.file(SMALL), SMALL)
        assert isinstance(only, HailoNetwork)
        rig.faults.kill("small")
        lose(only)
        rig.faults.refuse_configure(2, 71, "small")
        with pytest.raises(DeviceError):
            engine.recover(only)
        assert rig.held
        monkeypatch.setattr(hailo_closing, "threads_named", lambda name: 0)
        engine._closing._listeners = 1
        with pytest.raises(CardHangs, match="interrupt thread has ended"):
            engine.recover(only)
        assert rig.held


def test_a_standstill_of_the_whole_process_is_no_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a look takes by the clock, it counts once; here the fourth of four finds the model closed."""
    closed = threading.Event()
    looks = iter([False, False, False, True])
    monkeypatch.setattr(closed, "wait", lambda seconds: next(looks))
    assert in_time(closed, 4 * hailo_watchdog.LOOK_S)
    assert not in_time(threading.Event(), 0.2)


def test_a_slow_host_has_time_to_read_a_large_file(tmp_path: Path) -> None:
    """190 MB from a busy SD card: whoever leaves the process for that leaves it at every start."""
    large, small = tmp_path / "large.hef", tmp_path / "small.hef"
    with large.open("wb") as file:
        file.truncate(190_000_000)
    small.write_bytes(b"")
    assert with_file(large) >= 190_000_000 / 5_000_000 + 20
    assert with_file(small) == with_file(tmp_path / "gone") == hailo_watchdog.WATCH_S


def test_a_model_that_failed_to_load_is_closed(rig: Rig, engines: Engines) -> None:
    """Released over an open model, the library freezes or crashes."""
    engine = engines.start()
    rig.faults.fail_frames("small")
    with pytest.raises(DeviceError, match=r"the first one that it was given\. Restart the worker; if it comes back"):
        engine.open(engines.file(SMALL), SMALL)
    engine.close()
    assert not rig.record.crashes
    assert not rig.held


def test_teardown_in_order_and_nothing_held(rig: Rig, engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()
    engine, small, _ = engines.both()
    kept = small.run(pictures(3))
    order: list[str] = []
    pipeline = importlib.import_module("hailo_sim.pipeline").Pipeline
    handle = importlib.import_module("hailo_sim.api_vdevice").Handle
    for owner, method, word in ((pipeline, "close", "model"), (handle, "release", "device")):
        real = getattr(owner, method)

        def noted(self: Any, *args: Any, real: Any = real, word: str = word, **kwargs: Any) -> Any:
            order.append(word)
            return real(self, *args, **kwargs)

        monkeypatch.setattr(owner, method, noted)
    engine.close()
    assert order.index("device") >= 2, "models first"
    assert not rig.held
    assert not rig.record.crashes
    wait_until(lambda: threading.active_count() <= before)
    assert len(kept) == 3, "answers outlive the card"
    assert kept[0]["embedding"].real().any()
    engine.close()
    assert engines.left == []


def test_a_model_that_cannot_be_closed_leaves_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hailo_closing, "CLOSE_S", 0.2)
    with simulated(Rig()) as rig, caplog.at_level(logging.CRITICAL):
        engines = Engines(tmp_path)
        engine, small, _ = engines.both()
        small.run(pictures(1))
        rig.faults.hang_teardown("model")
        engine.close()
        assert engines.left == [EXIT_HUNG]
        assert EXIT_HUNG == 70
        assert "did not close a model within 0.2 s" in caplog.text
        assert "ends with status 70" in caplog.text
        assert rig.held, "nothing is released over an open model"
        with pytest.raises(CardHangs, match="ends with status 70"):
            engine.recover(small)
        rig.faults.free_teardown()
        wait_until(lambda: not any(t.name == "teardown" for t in threading.enumerate()))
        assert not rig.record.crashes


@pytest.mark.parametrize("hangs", ["configure", "release", "temperature"])
def test_a_hang_that_holds_the_gil_ends_the_process(tmp_path: Path, hangs: str) -> None:
    """No Python code runs any more, neither a timer's nor a thread's; the log has said before what is to come."""
    script = tmp_path / "hang.py"
    script.write_text(HANG)
    path = os.pathsep.join([str(TESTS / "hailo_sim" / "site"), str(TESTS), str(TESTS.parents[1])])
    process = subprocess.run(
        [sys.executable, str(script), str(tmp_path), hangs],
        env=os.environ | {"PYTHONPATH": path, "HAILO_SIM_CRASH": "abort"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 1, process.stderr
    assert "frozen soon" in process.stdout
    assert "not reached" not in process.stdout
    word = {
        "configure": "configuring small",
        "release": "releasing the card",
        "temperature": "asking the card",
    }[hangs]
    said, _, stacks = process.stderr.rpartition("Timeout (0:00:01)!")
    assert (
        "Should HailoRT hang while it is opened, configured, asked or closed, this process ends with status 1" in said
    )
    assert said.rstrip().endswith(f"{word} (for 1 s at most)")
    assert "hailo_sim" in stacks


TESTS = Path(__file__).resolve().parents[1] / "support"
HANG = """
import logging
import sys
from pathlib import Path
import numpy as np
import hailo_platform
import hailo_sim.device
from hailo_sim.build import tiny
from hailo_sim.current import current
from ml_target.catalogue.types import Network, PictureInput, Vector
from ml_target.engines.hailo import closing
from ml_target.engines.hailo import engine as hailo
from ml_target.engines.hailo import watchdog as hailo_watchdog
from ml_target.engines.hailo.card import CardSettings
from ml_target.errors import BurstLost

logging.basicConfig(level=logging.DEBUG)
hailo.host_checks = lambda **_: []
hailo_watchdog.WATCH_S = 1.0
folder, hangs = sys.argv[1:]
spec = PictureInput(4, 6, "RGB", mean=(0.0,) * 3, std=(1.0,) * 3)
network = Network("small", "clip", "visual", spec, ((Vector("embedding", 8),),), onnx=())
file = Path(folder) / "small.hef"
file.write_bytes(tiny("small", (4, 6, 3)))
engine = hailo.HailoEngine(CardSettings())
engine.start()
loaded = engine.open(file, network)
print("frozen soon", flush=True)
if hangs == "release":
    current().faults.hang_teardown("vdevice")
    engine.close()
elif hangs == "temperature":
    current().faults.stick_driver()
    engine.health()
else:
    closing.SETTLE_S = 0.0
    hailo_sim.device.GIL_FREE = 60.0
    current().faults.lose("small")
    try:
        loaded.run([np.zeros((4, 6, 3), np.uint8)])
    except BurstLost:
        engine.recover(loaded)
print("not reached", flush=True)
"""
