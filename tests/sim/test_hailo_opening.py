"""Which cards the engine opens, and what it says of the host at its start, on a simulated computer."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hailo_sim import Rig, simulated
from hailo_sim.sysfs import make_root

from ml_target.config import Settings, choose_engine
from ml_target.engines import select
from ml_target.engines.hailo import card
from ml_target.engines.hailo import engine as hailo
from ml_target.engines.hailo.card import CardSettings
from ml_target.engines.hailo.checks import host_checks
from ml_target.engines.hailo.engine import HailoEngine
from ml_target.engines.hailo.kernel_log import kernel_words
from ml_target.errors import DeviceError
from ml_target.runtime.place import open_places
from ml_target.system.cards import id_choices, nodes
from ml_target.system.finding import Finding

FIRST, SECOND, THIRD = (f"0000:0{bus}:00.0" for bus in (1, 2, 3))
Start = Callable[..., HailoEngine]


@pytest.fixture
def rig() -> Iterator[Rig]:
    with simulated(Rig(clock="virtual", cards=3)) as made:
        yield made


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host of three cards, of which this process has the second and the third."""
    made = make_root(tmp_path / "root", cards=3)
    (made / "dev/hailo0").unlink()
    monkeypatch.setenv("HAILORT_LOGGER_PATH", "NONE")
    monkeypatch.setattr(hailo, "host_checks", lambda **asked: host_checks(made, page_size=4096, **asked))
    monkeypatch.setattr(card, "id_choices", lambda ids, count: id_choices(ids, count, made))
    monkeypatch.setattr(hailo, "kernel_words", lambda: kernel_words(made))
    return made


@pytest.fixture
def start(rig: Rig, root: Path) -> Iterator[Start]:
    started: list[HailoEngine] = []

    def engine(**card: Any) -> HailoEngine:
        started.append(HailoEngine(CardSettings(**card)))
        started[-1].start()
        return started[-1]

    yield engine
    for each in started:
        each.close()


def test_the_first_card_whose_node_is_here(rig: Rig, start: Start) -> None:
    start()
    assert list(rig.held) == [SECOND]


def test_the_next_one_where_that_is_held(rig: Rig, start: Start) -> None:
    start()
    start()
    assert list(rig.held) == [SECOND, THIRD]
    with pytest.raises(DeviceError, match="DEVICE_IN_USE"):
        start()


def test_as_many_as_are_asked_for(rig: Rig, start: Start) -> None:
    start(device_count=2)
    assert list(rig.held) == [SECOND, THIRD]


def test_more_than_are_here(rig: Rig, start: Start) -> None:
    with pytest.raises(DeviceError, match=r"HAILO_DEVICE_COUNT=3, and 2 device nodes are here\. Pass the nodes of 3"):
        start(device_count=3)
    assert not rig.held


def test_one_that_was_named(rig: Rig, start: Start) -> None:
    with pytest.raises(DeviceError, match=r"HAILO_DEVICE_IDS names 0000:01:00\.0, whose node /dev/hailo0 is not here"):
        start(device_ids=(FIRST,))
    start(device_ids=(THIRD,))
    assert list(rig.held) == [THIRD]


def test_all_are_here_and_the_first_is_another_programs(rig: Rig, root: Path, start: Start) -> None:
    """HailoRT finds the free one, and it is this one that is asked for its temperature."""
    (root / "dev/hailo0").touch()
    start(device_ids=(FIRST,))
    engine = start()
    assert list(rig.held) == [FIRST, SECOND]
    engine.health()
    assert engine._card.health._device.device_id == SECOND


@pytest.mark.parametrize(("revision", "level"), [((4, 23, 0), logging.INFO), ((4, 23, 1), logging.WARNING)])
def test_firmware_of_nearly_this_version(
    start: Start,
    rig: Rig,
    caplog: pytest.LogCaptureFixture,
    revision: tuple[int, int, int],
    level: int,
) -> None:
    rig.firmware = revision
    caplog.set_level(logging.INFO)
    start()
    (record,) = [each for each in caplog.records if each.getMessage().startswith("firmware: ")]
    assert record.levelno == level


def test_firmware_of_another_version(start: Start, rig: Rig) -> None:
    rig.firmware = (4, 20, 0)
    with pytest.raises(DeviceError, match=r"firmware: 4\.20\.0, but HailoRT here is 4\.23\.0.*power the host off and"):
        start()


def test_a_driver_that_loses_the_card(start: Start, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "proc/sys/kernel").mkdir(parents=True)
    (root / "proc/sys/kernel/osrelease").write_text("6.14.0-generic\n")
    start()
    (warning,) = [each.getMessage() for each in caplog.records if "driver fault" in each.getMessage()]
    assert "hailo_pci 4.23.0 on kernel 6.14.0-generic is reported to lose the card" in warning
    assert "Install driver and HailoRT 4.22.0" in warning


def test_the_kernels_words_go_with_a_card_that_does_not_open(start: Start, root: Path, rig: Rig) -> None:
    rig.faults.refuse_open(1, 36)
    (root / "dev/kmsg").write_text("3,1,1,-;hailo 0000:02:00.0: Device disconnected while opening device\n")
    with pytest.raises(
        DeviceError, match=r"DRIVER_OPERATION_FAILED.* The kernel's log: the card has fallen off.*Reboot the host"
    ):
        start()


# -------------------------------------------------------------- auto's choice


def test_auto_says_when_it_passes_a_card_over(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert choose_engine("auto", root) == "hailo", "any node means the card"
    assert select.passed_over(Settings(), root) is None
    for node in nodes(root):
        node.unlink()
    assert choose_engine("auto", root) == "cpu"
    for engine in ("cpu", "hailo"):
        assert select.passed_over(Settings(engine=engine), root) is None
    found = select.passed_over(Settings(), root)
    assert found is not None
    assert "although this host has a Hailo card at 0000:01:00.0: no device node /dev/hailo* is here" in found.detail
    assert "pass --device=/dev/hailo0 to this container" in found.remedy
    assert "ENGINE=cpu says that the processor is meant" in found.remedy


def test_the_worker_warns_of_it(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("ml_target.config.nodes", lambda root: [])
    monkeypatch.setattr(select, "passed_over", lambda settings: Finding(None, "card", "is passed over", "Do this"))
    place, text = open_places(Settings())
    assert place is text
    place.arbiter.close()
    assert [each.getMessage() for each in caplog.records] == ["card: is passed over. Do this."]
    caplog.clear()
    monkeypatch.setattr(select, "passed_over", lambda settings: None)
    open_places(Settings())[0].arbiter.close()
    assert not caplog.records


def test_a_host_without_cards(tmp_path: Path) -> None:
    empty = make_root(tmp_path / "empty", cards=0, driver=None)
    assert select.passed_over(Settings(), empty) is None
    other = make_root(tmp_path / "other", nodes=0, chip_id="0x45c4")
    assert select.passed_over(Settings(), other) is None, "this worker would not drive it"
