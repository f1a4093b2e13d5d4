"""What the card says of itself, and how rarely it is asked."""

import itertools
import logging
from pathlib import Path

import pytest
from hailo_engines import SMALL, Engines, lose
from hailo_sim import Rig, simulated

from ml_target.engines.hailo import health as hailo_health
from ml_target.engines.hailo.network import HailoNetwork

pytestmark = pytest.mark.usefixtures("no_card_here")


def test_readings_are_cached(rig: Rig, engines: Engines) -> None:
    engine = engines.start()
    assert engine.health() == {"temperature_c": 52.6, "power_w": 2.1}
    asked = rig.record.controls
    rig.celsius = 70.0
    for _ in range(100):
        assert engine.health()["temperature_c"] == 52.6
    assert rig.record.controls == asked
    engines.ahead += hailo_health.TEMPERATURE_EVERY_S
    assert engine.health() == {"temperature_c": 70.6, "power_w": 2.1}
    assert rig.record.controls == asked + 1, "power is asked for less often: it suspends a protection for a moment"


def test_a_board_without_a_sensor_is_asked_for_power_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with simulated(Rig(clock="virtual", power_sensor="none")) as rig, caplog.at_level(logging.INFO):
        engines = Engines(tmp_path)
        engine = engines.start()
        for _ in range(20):
            assert engine.health() == {"temperature_c": 52.6}
            engines.ahead += 600
        assert len(rig.record.messages) == 5, "five lines of HailoRT's, once"
        assert caplog.text.count("does not report its power") == 1
        loaded = engine.open(engines.file(SMALL), SMALL)
        assert isinstance(loaded, HailoNetwork)
        rig.faults.abort_device()
        lose(loaded)
        engine.recover(loaded)
        engines.ahead += 600
        engine.health()
        errors = [line for line in rig.record.messages if line.startswith("[error]")]
        assert len(errors) == 5, "it is the same board after reopening"
        engine.close()


def test_a_firmware_that_does_not_answer_is_left_alone_longer_and_longer(
    rig: Rig, engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    """Each question stops every thread of the process: at most one a minute, then fewer."""
    engine = engines.start()
    assert engine.health()
    rig.faults.silence_firmware()
    asked, stops = rig.record.controls, list[int]()
    for seconds in range(0, 1800, 15):
        engines.ahead += 15
        before = rig.record.controls
        engine.health()
        if rig.record.controls > before:
            stops.append(seconds)
            assert rig.record.controls == before + 1, "one stop, not one each for temperature and power"
    assert rig.record.controls - asked == len(stops) <= 6
    apart = [later - earlier for earlier, later in itertools.pairwise(stops)]
    assert apart == sorted(apart)
    assert min(apart) >= 60
    assert max(apart) >= 480
    assert engine.health() == {}, "an old temperature does not stand for a new one"
    assert "asked again in 60 s" in caplog.text
    assert "power the host off and on" in caplog.text
    rig.faults.silence_firmware(False)
    engines.ahead += hailo_health.LONGEST_SILENT_S
    assert engine.health() == {"temperature_c": 52.6, "power_w": 2.1}
