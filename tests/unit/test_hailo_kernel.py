"""Drivers that do not get on with a kernel, versions side by side, and the words of the kernel's log."""

from pathlib import Path

import pytest
from standin_host import Host

from ml_target.engines.hailo.checks import host_checks
from ml_target.engines.hailo.kernel_log import TABLE, kernel_words
from ml_target.engines.hailo.versions import firmware_check, library_check
from ml_target.system import kernel_log as system_kernel_log
from ml_target.system.finding import Finding
from ml_target.system.kernel_log import Message, kernel_messages

OTHER_LINES = (
    "hailo 0000:01:00.0: Firmware loaded in 120 ms",
    "hailo 0000:01:00.0: Probing: Enabled 64 bit dma",
    "hailo 0000:01:00.0: Probing: Setting max_desc_page_size to 4096, (page_size=4096)",
    "hailo 0000:01:00.0: Disabling ASPM L0s",
    "nvme 0000:03:00.0: PCIe Bus Error: severity=Corrected, type=Physical Layer",
    "hailo_pci: module verification failed: signature and/or required key missing - tainting kernel",
)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "root").healthy()


# -------------------------------------------------------------------- versions


@pytest.mark.parametrize(
    ("driver", "kernel", "taint", "told"),
    [
        ("4.23.0", "6.12.9-amd64", "OE", True),
        ("4.23.0", "6.12.9-amd64", None, True),
        ("4.21.0", "7.1.0", "OE", True),
        ("4.23.0+local", "6.14.0-27-generic", "OE", True),
        ("4.22.0", "6.12.9-amd64", "OE", False),
        ("4.20.1", "6.12.9-amd64", "OE", False),
        ("4.23.0", "6.8.0-60-generic", "OE", False),
        ("4.23.0", "6.11.11", "OE", False),
        ("4.23.0", "6.12.62+rpt-rpi-2712", "", False),  # the kernel's own copy carries a fix
        ("4.23.0", "6.12.62+rpt-rpi-2712", None, False),
        ("4.21.0", "6.12.62+rpt-rpi-2712", "OE", True),  # one built by DKMS does not
        ("4.23.0", "", "OE", False),
    ],
)
def test_drivers_that_lose_the_card_on_newer_kernels(
    host: Host, driver: str, kernel: str, taint: str | None, told: bool
) -> None:
    host.write({"sys/module/hailo_pci/version": driver, "proc/sys/kernel/osrelease": kernel})
    if taint is not None:
        host.write({"sys/module/hailo_pci/taint": taint})
    found = [each for each in host_checks(host.root, {}, 4096) if each.what == "driver fault"]
    assert len(found) == told
    for each in found:
        assert each.ok is None
        assert kernel in each.detail
        assert "driver and HailoRT 4.22.0" in each.remedy
        assert "older than 6.12" in each.remedy


@pytest.mark.parametrize(
    ("firmware", "ok"),
    [
        ("4.23.0 (release,app)", True),
        ("4.23.5 (release,app)", None),
        ("4.22.0 (release,app)", False),
        ("5.23.0", False),
        ("", True),
        ("<object at 0x7f12>", True),
    ],
)
def test_firmware_beside_the_library(firmware: str, ok: bool | None) -> None:
    found = firmware_check(firmware, "4.23.0")
    assert (found.ok, bool(found.remedy)) == (ok, ok is not True)
    assert firmware_check(firmware, "").ok is True, "HailoRT decides"


def test_library_beside_the_driver() -> None:
    assert library_check("4.23.0", "4.23.0+local").ok
    assert library_check("4.23.0", "").ok
    assert library_check("4.23.0", "4.23.1").ok is False
    assert library_check("", "4.23.0") == Finding(True, "HailoRT", "version unknown")
    assert library_check("4.23.0", "4.22.0").remedy.startswith("Install HailoRT 4.22.0 (library and Python wheel), or")
    assert library_check("4.23.0", "4.17.0").remedy == "Install the driver of 4.23.0 on the host", "no HailoRT helps it"


# ----------------------------------------------------------------- kernel's log


def log(host: Host, *messages: str) -> None:
    host.write({"dev/kmsg": "\n".join(f"3,{n},{n}000,-;{text}\n SUBSYSTEM=pci" for n, text in enumerate(messages))})


@pytest.mark.parametrize(
    ("line", "meaning", "remedy"),
    [
        ("hailo 0000:01:00.0: Device disconnected while opening device", "fallen off the bus", "Reboot the host"),
        (
            "hailo 0000:01:00.0: Probing: Failed reading device BARs, device may be disconnected",
            "not answer",
            "Seat it",
        ),
        ("hailo 0000:01:00.0: Unable to change power state from D3cold to D0", "does not answer on", "power the host"),
        (
            "hailo 0000:01:00.0: Direct firmware load for hailo/hailo8_fw.bin failed with error -2",
            "the firmware's file is not there",
            "/lib/firmware/hailo/hailo8_fw.bin",
        ),
        ("hailo 0000:01:00.0: Failed to enable MSI -28", "is given no interrupt", "a slot of the board itself"),
        ("hailo 0000:01:00.0: Timeout waiting for NNC firmware file, boot status 3", "could not be put", "one version"),
        ("hailo 0000:01:00.0: Failed writing NNC firmware files. err -2", "could not be put on the card", "power the"),
        (
            "hailo 0000:01:00.0: hailo_fw_control, timeout waiting for control (timeout_ms=1000)",
            "not answer",
            "modprobe",
        ),
        ("hailo 0000:01:00.0: Probing: Error enabling dma -5", "no memory to reach", "Above 4G"),
        ("hailo 0000:01:00.0: force_desc_page_size must be a power of 2", "a value that it does not", "4096"),
        (
            "hailo 0000:01:00.0: Failed to allocate descriptors list, desc_count 0x10, buffer_size 0x100, This failure "
            "means there is not a sufficient amount of CMA memory (contiguous physical memory)",
            "no contiguous memory",
            "raise cma=",
        ),
        ("get_user_pages failed with -12", "the memory of a transfer", "Free memory"),
        (" hailo_vdma_buffer_map+0x3c8/0x6b0 [hailo_pci]", "without the lock", "4.22.0"),
        ("Channel 3 hw state out of sync. num available is 4, expected 5", "transfers", "Restart the worker"),
        ("pcieport 0000:00:1c.0: AER: Corrected error message received from 0000:01:00.0", "the link", "Seat card"),
        ("hailo 0000:01:00.0: PCIe Bus Error: severity=Corrected, type=Data Link Layer", "the link", "pciex1_gen=2"),
        ("DMAR: [DMA Read NO_PASID] Request device [01:00.0] fault addr 0xfff", "the IOMMU refused", "iommu=pt"),
        ("hailo 0000:01:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x000e]", "the IOMMU refused", "iommu=pt"),
        ("Loading of module with unavailable key is rejected: hailo_pci", "Secure Boot refused", "mokutil --import"),
        ("hailo_pci: version magic '6.8.0' should be '6.12.9'", "built for another kernel", "dkms autoinstall"),
        ("hailo 0000:01:00.0: probe with driver hailo failed with error -110", "could not take", "the lines before"),
    ],
)
def test_words_and_what_helps(host: Host, line: str, meaning: str, remedy: str) -> None:
    log(host, OTHER_LINES[0], line, *OTHER_LINES[1:])
    (found,) = kernel_words(host.root) or []
    assert (found.ok, found.what) == (None, "kernel log")
    assert meaning in found.detail
    assert line.strip()[:60] in found.detail
    assert remedy in found.remedy


def test_every_row_of_the_table_is_met(host: Host) -> None:
    """By the lines above: a row that nothing leads to would be forgotten."""
    marks = test_words_and_what_helps.pytestmark[0].args[1]  # type: ignore[attr-defined]
    log(host, *(line for line, _, _ in marks))
    assert {each.remedy for each in kernel_words(host.root) or []} == {words.remedy for words in TABLE}


def test_what_was_before_the_driver_was_loaded_is_over(host: Host) -> None:
    trouble = "hailo 0000:01:00.0: Device disconnected while handling irq"
    log(host, trouble, "hailo: Init module. driver version 4.23.0", *OTHER_LINES)
    assert kernel_words(host.root) == []
    log(host, "hailo: Init module. driver version 4.23.0", trouble, trouble, trouble)
    (found,) = kernel_words(host.root) or []
    assert found.detail == f"the card has fallen off the bus, 3 times: {trouble}"


def test_a_log_that_may_not_be_read(host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert kernel_words(host.root) is None
    monkeypatch.setattr(system_kernel_log, "_records", _denied)
    program = tmp_path / "dmesg"
    monkeypatch.setattr("shutil.which", lambda name: str(program))
    assert kernel_words() is None, "dmesg is not there either"
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    assert kernel_words() is None
    program.write_text("#!/bin/sh\necho '[    3.4] hailo 0000:01:00.0: Device disconnected while handling irq'\n")
    (found,) = kernel_words() or []
    assert found.detail.endswith("bus: hailo 0000:01:00.0: Device disconnected while handling irq")
    assert kernel_messages() == [Message(3.4, "hailo 0000:01:00.0: Device disconnected while handling irq")]
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert kernel_words() is None


def _denied(device: Path) -> str:
    raise PermissionError(1, "Operation not permitted")


def test_messages_carry_their_seconds(host: Host) -> None:
    log(host, "first", "second")
    assert kernel_messages(host.root) == [Message(0.0, "first"), Message(0.001, "second")]


def test_nothing_of_the_log_is_needed_where_all_is_well(host: Host) -> None:
    log(host, *OTHER_LINES)
    assert kernel_words(host.root) == []
