"""Hosts made of files: what can be told of them before a card is opened, and which cards are opened."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from standin_host import LOADED, MEMORY, Host, find

from ml_target.diagnostics.tasks import memory_check
from ml_target.engines.hailo.checks import host_checks
from ml_target.system.cards import cards, driver_version, holders, id_choices, nodes, within_reach
from ml_target.system.finding import Finding


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "root")


def looked(host: Host, what: str, **more: Any) -> Finding:
    return find(host_checks(host.root, {}, **({"page_size": 4096} | more)), what)


def test_a_healthy_host(host: Host) -> None:
    found = host_checks(host.healthy().root, {}, 4096)
    assert all(finding.ok for finding in found)
    assert [(finding.what, finding.detail) for finding in found] == [
        ("card", "Hailo-8 or 8L at 0000:01:00.0"),
        ("driver", "hailo_pci 4.23.0"),
        ("device node", "/dev/hailo0 can be read and written"),
        ("PCIe link", "8.0 GT/s PCIe x4, 3.9 GB/s"),
    ]
    assert [card.driver for card in cards(host.root)] == ["hailo_pci"]
    assert [node.name for node in nodes(host.root)] == ["hailo0"]
    assert driver_version(host.root) == "4.23.0"


def test_who_holds_the_card(host: Host) -> None:
    assert holders(host.root) == []
    own = str(os.getpid())
    for process, target in (
        ("1", "/dev/hailo0"),
        ("77", "/data/hailo0"),
        (own, "/dev/hailo0"),
        ("self", "/dev/hailo0"),
    ):
        host.write({f"proc/{process}/comm": "python3", f"proc/{process}/fd/readme": ""})
        (host.root / "proc" / process / "fd" / "4").symlink_to(target)
    assert holders(host.root) == ["process 1 (python3)"]


def test_no_card_at_all(host: Host) -> None:
    host.write({"sys/bus/pci/devices/0000:00:02.0/vendor": "0x8086", "dev/hailo_of_another_kind": ""})
    assert host_checks(host.root, {}) == []
    assert host_checks(host.root / "nothing here", {}) == []


def test_several_cards_are_each_looked_at(host: Host) -> None:
    host.healthy().card("0000:02:00.0").node("hailo1")
    assert [f.what for f in host_checks(host.root, {}, 4096)].count("device node") == 2
    assert [f.what for f in host_checks(host.root, {}, 4096)].count("PCIe link") == 2


# ------------------------------------------------- cards that are not all here


@pytest.fixture
def half(host: Host) -> Host:
    """A container that was given the second of two cards."""
    host.card().card("0000:02:00.0").write(LOADED).listed("hailo0").listed("hailo1", "0000:02:00.0")
    return host.write({"dev/hailo1": ""})


def test_the_card_whose_node_is_here_is_the_one_to_open(half: Host) -> None:
    assert within_reach(half.root) == ["0000:02:00.0"]
    assert id_choices((), 1, half.root) == [["0000:02:00.0"]]
    assert id_choices((), 2, half.root) == [["0000:02:00.0"]], "and host_checks says that there are not two"
    assert id_choices(("0000:01:00.0",), 1, half.root) == [["0000:01:00.0"]], "who names one is taken by his word"
    half.node()
    assert id_choices((), 1, half.root) == [[]], "all are here: HailoRT finds them, and one that is free, by itself"


def test_any_of_the_cards_that_are_here_will_do(half: Host) -> None:
    half.card("0000:03:00.0").listed("hailo2", "0000:03:00.0").write({"dev/hailo2": ""})
    second, third = "0000:02:00.0", "0000:03:00.0"
    assert id_choices((), 1, half.root) == [[second], [third]]
    assert id_choices((), 2, half.root) == [[second, third]]


def test_where_the_driver_does_not_tell_which_card_is_which(host: Host) -> None:
    host.card().write(LOADED | {"dev/hailo0": "", "sys/class/hailo_chardev/hailo0/uevent": ""})
    host.write({"sys/class/hailo_chardev/hailo1/uevent": ""})
    assert id_choices((), 1, host.root) == [[]]
    (host.root / "sys/class/hailo_chardev/hailo0/device").symlink_to("../../../bus/pci/devices/0000:01:00.0")
    assert within_reach(host.root) == ["0000:01:00.0"]
    assert id_choices((), 1, host.root) == [["0000:01:00.0"]]


def test_nodes_are_in_the_order_of_their_numbers(host: Host) -> None:
    host.write({f"dev/hailo{number}": "" for number in (10, 2, 0)})
    assert [node.name for node in nodes(host.root)] == ["hailo0", "hailo2", "hailo10"]


def test_cards_that_belong_to_others_are_a_note(half: Host) -> None:
    finding = looked(half, "cards")
    assert (finding.ok, finding.detail) == (
        None,
        "of the host's cards 0000:02:00.0 is used; no node is here for 0000:01:00.0 (/dev/hailo0)",
    )
    assert all(each.ok is not False for each in host_checks(half.root, {}, 4096))


@pytest.mark.parametrize("named", ["0000:01:00.0", "01:00.0"])
def test_a_card_that_was_named_and_whose_node_is_not_here(half: Host, named: str) -> None:
    finding = looked(half, "cards", ids=(named,))
    assert (finding.ok, finding.detail) == (
        False,
        f"HAILO_DEVICE_IDS names {named}, whose node /dev/hailo0 is not here",
    )
    assert finding.remedy == "Pass --device=/dev/hailo0 to the container, too"
    assert all(each.ok for each in host_checks(half.root, {}, 4096, ids=("02:00.0",)))


def test_a_card_that_was_named_and_is_not_there(half: Host) -> None:
    finding = looked(half, "cards", ids=("0000:09:00.0",))
    assert (finding.ok, finding.detail) == (False, "HAILO_DEVICE_IDS names 0000:09:00.0, where there is no card")
    assert finding.remedy == "Name one of these, or none: 0000:02:00.0"


def test_more_cards_than_are_here(half: Host) -> None:
    finding = looked(half, "cards", count=2)
    assert (finding.ok, finding.detail) == (False, "HAILO_DEVICE_COUNT=2, and 1 device nodes are here")
    assert finding.remedy == "Pass the nodes of 2 cards to the container, or set HAILO_DEVICE_COUNT=1"


def test_a_node_that_may_not_be_used_matters_to_who_wants_its_card(half: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    half.node()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "hailo0")
    states = {
        ids: [f.ok for f in host_checks(half.root, {}, 4096, ids=ids) if f.what == "device node"]
        for ids in ((), ("0000:01:00.0",), ("0000:02:00.0",))
    }
    assert states == {(): [False, True], ("0000:01:00.0",): [False, True], ("0000:02:00.0",): [None, True]}


def test_a_card_that_a_virtual_machine_has(host: Host) -> None:
    host.card("0000:02:00.0", bound=False).write(LOADED)
    (host.root / "sys/bus/pci/drivers/vfio-pci").mkdir(parents=True)
    (host.root / "sys/bus/pci/devices/0000:02:00.0/driver").symlink_to("../../drivers/vfio-pci")
    finding = looked(host, "driver")
    assert (finding.ok, finding.detail) == (
        False,
        "the card at 0000:02:00.0 belongs to the driver vfio-pci, as a virtual machine's does",
    )
    assert "give the card back to hailo_pci" in finding.remedy
    host.card().node()
    of_driver = [f.ok for f in host_checks(host.root, {}, 4096) if f.what == "driver"]
    assert of_driver == [True, None], "another card is here for the worker"
    of_driver = [f.ok for f in host_checks(host.root, {}, 4096, ids=("02:00.0",)) if f.what == "driver"]
    assert of_driver == [True, False], "but it was this one that was wanted"


# ------------------------------------------------------------ chips and drivers


def test_a_chip_of_another_kind(host: Host) -> None:
    finding = looked(host.card(device="0x45c4", bound=False), "card")
    assert finding.ok is False
    assert finding.detail == "a Hailo chip of another kind at 0000:01:00.0 (PCI id 1e60:45c4)"
    assert "drives Hailo-8 and Hailo-8L: use such a card, or ENGINE=cpu" in finding.remedy
    found = host_checks(host.card("0000:02:00.0").root, {})
    assert [f.ok for f in found if f.what == "card"] == [None, True]


def test_a_node_without_a_card_on_the_bus(host: Host) -> None:
    finding = looked(host.node().write(LOADED), "card")
    assert (finding.ok, finding.detail) == (None, "none to be seen on the PCI bus, although there is a device node")


def test_the_driver_is_not_loaded(host: Host) -> None:
    found = host_checks(host.card(bound=False).root, {})
    driver, node = find(found, "driver"), find(found, "device node")
    assert (driver.ok, driver.detail) == (False, "hailo_pci is not loaded")
    assert "sudo modprobe hailo_pci; install the driver (hailo-dkms)" in driver.remedy
    assert (node.ok, node.detail) == (False, "no /dev/hailo0, though there is a card on the bus")
    assert "Load the driver on the host first" in node.remedy


def test_the_driver_has_not_taken_the_card(host: Host) -> None:
    finding = looked(host.card(bound=False).write(LOADED), "driver")
    assert finding.ok is False
    assert finding.detail == "hailo_pci 4.23.0 is loaded, but has not taken the card at 0000:01:00.0"
    assert "dmesg | grep hailo" in finding.remedy
    assert "/lib/firmware/hailo/hailo8_fw.bin" in finding.remedy


@pytest.mark.parametrize(
    ("version", "bound", "short"),
    [
        ("5.1.0", False, "does not drive a Hailo-8: it is for Hailo-10 and 15"),
        ("10.0.1", False, "does not drive a Hailo-8: it is for Hailo-10 and 15"),
        ("5.1", False, "does not drive a Hailo-8: it is for Hailo-10 and 15"),
        ("4.17.0", True, "is too old; the worker needs 4.20 or newer"),
    ],
)
def test_a_driver_that_will_not_do(host: Host, version: str, bound: bool, short: str) -> None:
    finding = looked(host.card(bound=bound).node().write({"sys/module/hailo_pci/version": version}), "driver")
    assert (finding.ok, finding.detail) == (False, f"hailo_pci {version} is loaded, which {short}")
    assert "Install the driver of branch 4" in finding.remedy


def test_a_driver_that_hides_its_version(host: Host) -> None:
    finding = looked(host.card().node().write({"sys/module/hailo_pci/refcnt": "0"}), "driver")
    assert (finding.ok, finding.detail) == (None, "hailo_pci is loaded and does not say its version")


def test_a_container_without_the_node(host: Host) -> None:
    host.card().write(LOADED | {"sys/class/hailo_chardev/hailo0/uevent": ""})
    finding = looked(host, "device node")
    assert finding.ok is False
    assert "pass --device=/dev/hailo0 (compose: devices)" in finding.remedy


def test_no_permission(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.healthy()
    (host.root / "dev/hailo0").chmod(0o660)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "hailo0")
    finding = looked(host, "device node")
    group = (host.root / "dev/hailo0").stat().st_gid
    assert finding.ok is False
    assert finding.detail == f"/dev/hailo0 may not be read and written by user {os.getuid()}"
    assert f"--group-add {group}" in finding.remedy
    assert 'MODE="0666"' in finding.remedy


def test_a_group_that_has_no_permission_is_no_remedy(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.healthy()
    (host.root / "dev/hailo0").chmod(0o600)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    finding = looked(host, "device node")
    assert "group-add" not in finding.remedy
    assert "usermod" not in finding.remedy
    assert "Its mode 600" in finding.remedy
    assert 'MODE="0666"' in finding.remedy
    assert "chmod 666 /dev/hailo0" in finding.remedy


def test_a_masked_sysfs(host: Host) -> None:
    finding = looked(host.card().node(listed=False).write(LOADED), "sysfs")
    assert (finding.ok, finding.detail) == (False, "/sys/class/hailo_chardev/hailo0 is not visible")
    assert "an unmasked /sys; without this entry HailoRT says there is no device" in finding.remedy
    shutil.rmtree(host.root / "sys")
    assert looked(host, "sysfs").remedy == "Mount /sys into the container"


def test_a_slow_link(host: Host) -> None:
    slow = {"current_link_speed": "5.0 GT/s PCIe", "current_link_width": "1"}
    finding = looked(host.card(link=slow).node().write(LOADED), "PCIe link")
    assert finding.ok is None
    assert finding.detail == "5.0 GT/s PCIe x1, 0.5 GB/s, of 3.9 possible"
    assert "load their weights over this link for every burst, which takes 7.9 times as long here" in finding.remedy
    assert "dtparam=pciex1_gen=3" in finding.remedy


@pytest.mark.parametrize("link", [{"current_link_speed": "Unknown"}, {"max_link_width": ""}])
def test_an_unknown_link(host: Host, link: dict[str, str]) -> None:
    finding = looked(host.card(link=link).node().write(LOADED), "PCIe link")
    assert finding == Finding(None, "PCIe link", "speed and width are unknown", looked=False)


def test_large_pages(host: Host) -> None:
    host.healthy().write({"proc/device-tree/model": "Raspberry Pi 5 Model B\0"})
    finding = looked(host, "page size", page_size=16384)
    assert (finding.ok, finding.detail) == (None, "the kernel's pages have 16 KiB (Raspberry Pi 5 Model B)")
    assert "(status 8, or a max_desc_page_size in the log)" in finding.remedy
    assert "options hailo_pci force_desc_page_size=4096 in /etc/modprobe.d" in finding.remedy
    host.write({"sys/module/hailo_pci/parameters/force_desc_page_size": "4096"})
    assert looked(host, "page size", page_size=16384).ok is True


def test_the_log_folder(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.healthy()

    def found(environment: dict[str, str]) -> list[Finding]:
        return [f for f in host_checks(host.root, environment, 4096) if f.what == "log of HailoRT"]

    assert found({}) == found({"HAILORT_LOGGER_PATH": str(tmp_path)}) == found({"HAILORT_LOGGER_PATH": "NONE"}) == []
    (finding,) = found({"HAILORT_LOGGER_PATH": "/nowhere"})
    assert (finding.ok, finding.detail.split(":")[0]) == (None, "HAILORT_LOGGER_PATH=/nowhere cannot be written")
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != ".")
    (finding,) = found({})
    assert finding.detail == "the current folder cannot be written: it complains at every start"
    assert finding.remedy == (
        "Set HAILORT_LOGGER_PATH to a folder that can be written, or to NONE, before the worker starts"
    )


def test_memory(host: Host) -> None:
    assert memory_check(1 << 30, host.write(MEMORY).root) == Finding(
        True, "memory", "1.00 GiB for weights, 3.8 GiB free"
    )
    finding = memory_check(5 << 30, host.root)
    assert (finding.ok, finding.detail) == (False, "5.00 GiB for weights, 3.8 GiB free")
    assert finding.remedy.startswith("Free memory or raise the container's limit")
    host.write({"sys/fs/cgroup/memory.max": str(2 << 30), "sys/fs/cgroup/memory.current": str(1 << 30)})
    assert memory_check(2 << 30, host.root).detail == "2.00 GiB for weights, 1.0 GiB free within the container's limit"
    assert memory_check(1, host.write({"sys/fs/cgroup/memory.max": "max"}).root).ok is True
    assert not memory_check(1, host.root / "nothing").looked
