"""What the Hailo engine refuses when it opens a simulated card or a file, with which remedy."""

import importlib
import sys
from pathlib import Path

import pytest
from hailo_engines import SMALL, Engines, network, pictures
from hailo_sim import Rig, simulated

from ml_target.engines.hailo import engine as hailo
from ml_target.engines.hailo.card import CardSettings
from ml_target.engines.hailo.engine import HailoEngine
from ml_target.errors import (
    DamagedFileError,
    DeviceError,
    ModelError,
    SettingsError,
)

pytestmark = pytest.mark.usefixtures("no_card_here")


def test_a_hailo_8_file_is_refused_on_an_8l_before_it_is_configured(tmp_path: Path) -> None:
    with simulated(Rig(clock="virtual", chip="hailo8l")) as rig:
        engines = Engines(tmp_path)
        engine = engines.start()
        assert engine.chip == "hailo8l"
        file = engines.file(SMALL)
        with pytest.raises(ModelError, match=r"compiled for Hailo-8.*hailo8l"):
            engine.open(file, SMALL)
        assert rig.record.models["small"].configured == 0
        of = network("its_own")
        assert engine.open(engines.file(of, chip="hailo8l"), of).run(pictures(1))
        engine.close()


def test_several_8l_are_refused_with_the_remedy(tmp_path: Path) -> None:
    for card in (CardSettings(device_count=2), CardSettings(device_ids=("0000:01:00.0", "0000:02:00.0"))):
        with simulated(Rig(clock="virtual", chip="hailo8l", cards=2)) as rig:
            engine = HailoEngine(card)
            with pytest.raises(SettingsError, match=r"not several Hailo-8L\. Set HAILO_DEVICE_COUNT=1"):
                engine.start()
            engine.close()
            assert not rig.held


def test_cards_by_their_ids(tmp_path: Path) -> None:
    with simulated(Rig(clock="virtual", cards=3)) as rig:
        engines = Engines(tmp_path)
        ids = ("0000:02:00.0", "0000:03:00.0")
        engine, small, _ = engines.both(device_ids=ids)
        assert tuple(rig.held) == ids
        assert small.run(pictures(3))
        engine.close()
        assert not rig.held


def test_a_shared_card(tmp_path: Path) -> None:
    with simulated(Rig(clock="virtual", service="on")) as rig:
        engines = Engines(tmp_path)
        engine, small, _ = engines.both(group="photos")
        assert list(rig.groups) == ["photos"]
        assert small.run(pictures(3))
        engine.close()
    with simulated(Rig(clock="virtual")), pytest.raises(DeviceError, match=r"RPC_FAILED.*hailort\.service"):
        HailoEngine(CardSettings(group="photos")).start()


# ---------------------------------------------------------------- open failures


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (74, r"OUT_OF_PHYSICAL_DEVICES.*fuser.*--device=/dev/hailo0"),
        (73, r"DEVICE_IN_USE.*another program"),
        (36, r"DRIVER_OPERATION_FAILED.*--group-add"),
        (76, r"INVALID_DRIVER_VERSION.*one version"),
        (64, r"DRIVER_NOT_INSTALLED.*Install the driver"),
        (2, r"INVALID_ARGUMENT.*HAILO_DEVICE_IDS"),
        (16, r"UNSUPPORTED_FW_VERSION.*one version"),
        (3, r"OUT_OF_HOST_MEMORY.*[Ff]ewer models|OUT_OF_HOST_MEMORY.*Free memory"),
        (87, r"DRIVER_TIMEOUT.*modprobe"),
    ],
)
def test_every_failure_to_open_has_its_remedy(rig: Rig, status: int, words: str) -> None:
    rig.faults.refuse_open(1, status)
    engine = HailoEngine(CardSettings())
    with pytest.raises(DeviceError, match=words):
        engine.start()
    engine.start()
    engine.close()
    assert not rig.held


def test_a_card_that_does_not_say_what_it_is(rig: Rig) -> None:
    rig.faults.refuse_control(1, 18)
    engine = HailoEngine(CardSettings())
    with pytest.raises(DeviceError, match="FW_CONTROL_FAILURE"):
        engine.start()
    engine.close()
    assert not rig.held


@pytest.mark.parametrize(("status", "words"), [(71, "OUT_OF_FW_MEMORY.*Load fewer models"), (93, "another chip")])
def test_failures_to_configure_name_the_file(rig: Rig, engines: Engines, status: int, words: str) -> None:
    engine = engines.start()
    rig.faults.refuse_configure(1, status)
    with pytest.raises(DeviceError, match=rf"^small\.hef: .*{words}"):
        engine.open(engines.file(SMALL), SMALL)


def test_a_file_that_hailort_refuses_is_no_fault_of_the_card(rig: Rig, engines: Engines) -> None:
    engine = engines.start()
    rig.faults.refuse_configure(1, 26)
    with pytest.raises(DamagedFileError, match=r"small\.hef is refused: .*INVALID_HEF.*Fetch it again"):
        engine.open(engines.file(SMALL), SMALL)


@pytest.mark.parametrize(("library", "status"), [("4.21.0", 92), ("4.20.1", 26)])
def test_a_file_that_is_newer_than_hailort_is_told_with_the_version_that_it_needs(
    rig: Rig, engines: Engines, caplog: pytest.LogCaptureFixture, library: str, status: int
) -> None:
    """It is whole, so nobody is told to fetch it again. Before it is tried there is a warning: it may be read."""
    engine = engines.start()
    engine._card.library = library
    file = engines.file(SMALL)
    engine.check(file, SMALL)
    assert f"by the Dataflow Compiler 3.33.0 for HailoRT 4.23, and HailoRT here is {library}, which may" in caplog.text
    rig.faults.refuse_configure(1, status)
    with pytest.raises(DamagedFileError, match=r"small\.hef is refused: HailoRT reports (26|92) ") as refused:
        engine.open(file, SMALL)
    assert "for HailoRT 4.23" in refused.value.reason
    assert "Install driver and HailoRT 4.23" in refused.value.remedy
    assert "etch" not in str(refused.value)
    assert engine.open(file, SMALL), "the same file, where HailoRT takes it"


def test_parts_that_do_not_fit_are_told_with_their_versions(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hailo, "driver_version", lambda: "")
    rig.faults.refuse_open(1, 76)
    engine = HailoEngine(CardSettings())
    with pytest.raises(DeviceError, match=r"of one version.*Here HailoRT is 4\.23\.0, the driver of unknown version"):
        engine.start()
    engine.close()


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hailo_platform", None)
    with pytest.raises(SettingsError, match=r"ENGINE=cpu.*-m ml_target doctor says more"):
        HailoEngine(CardSettings())


# ------------------------------------------------------------------ wrong files


def test_streams_that_the_library_sees_otherwise(rig: Rig, engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = engines.start()
    api = importlib.import_module("hailo_sim.api_model")
    monkeypatch.setattr(api.ModelStream, "shape", property(lambda stream: [1, 2, 3]))
    with pytest.raises(ModelError, match=r"HailoRT sees the streams .* the file describes"):
        engine.open(engines.file(SMALL), SMALL)
    assert rig.record.models["small"].configured == 0


def test_another_driver_is_told_before_the_card_is_touched(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hailo, "driver_version", lambda: "4.22.0")
    with pytest.raises(DeviceError, match=r"driver on the host is version 4\.22\.0, HailoRT here is 4\.23\.0"):
        HailoEngine(CardSettings()).start()
    assert rig.record.opened == 0
    monkeypatch.setattr(hailo, "driver_version", lambda: "4.23.0")
    engine = HailoEngine(CardSettings())
    engine.start()
    engine.close()
