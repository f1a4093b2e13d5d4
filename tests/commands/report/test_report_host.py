"""What the report says of versions, machine, card and the kernel's log."""

import os
import re
from pathlib import Path

import pytest
from hailo_sim.sysfs import make_root

from ml_target.diagnostics.report.card import card, kernel_log
from ml_target.diagnostics.report.host import host, versions


def test_versions_and_host_say_what_a_report_needs() -> None:
    told = versions()
    for words in ("immich-ml-hailo ", "numpy ", "pillow ", "onnxruntime ", "libjpeg_turbo ", "python  "):
        assert words in told.text
    assert told.wrong == []
    told = host()
    for words in ("kernel ", "page size ", "processor ", "cores ", "memory  ", "limits ", "C library", "as user "):
        assert words in told.text


def test_a_package_that_is_missing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.diagnostics.report.host._version", lambda name: "" if name == "fastapi" else "1")
    assert versions().wrong == ["not installed: fastapi. Install this project again, with its packages"]


def test_limits_of_a_container_and_memory_that_ran_out(tmp_path: Path) -> None:
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    for name, value in {
        "memory.max": str(2 << 30),
        "cpu.max": "150000 100000",
        "memory.events": "low 0\noom_kill 3",
    }.items():
        (group / name).write_text(value)
    told = host(tmp_path)
    assert "cpu.max 150000 100000, memory.max 2.00 GiB" in told.text
    assert told.wrong == ["memory ran out 3 times in this container: raise its limit, or load fewer models"]


def test_the_card_as_the_kernel_sees_it(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root", width=1, node_mode=0o600)
    text = card(root).text
    assert "card           0000:01:00.0, driver hailo" in text
    assert re.search(r"current_link_width +1\n", text)
    assert re.search(r"max_link_width +4\n", text)
    assert "/dev/hailo0: NO DEVICE, mode 600" in text
    assert "driver         4.23.0" in text
    assert "parameter    force_desc_page_size = 0" in text
    assert "hailo_chardev: hailo0" in text


def test_no_card_and_no_sysfs(tmp_path: Path) -> None:
    text = card(tmp_path / "nothing").text
    assert "no Hailo card on the PCI bus" in text
    assert "hailo_pci is not loaded" in text


def test_the_kernel_log_is_only_that_of_the_card(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root")
    (root / "dev/kmsg").write_text(
        "6,1,5000000,-;hailo 0000:01:00.0: Probing on: 1e60:2864...\n"
        " SUBSYSTEM=pci\n"
        "6,2,6000000,-;usb 1-1: SerialNumber: 1234\n"
        "4,3,7000000,-;pcieport 0000:00:01.0: AER: Corrected error received: 0000:01:00.0\n"
        "3,4,8000000,-;hailo 0000:01:00.0: Failed writing fw control, error -110\n"
        "3,5,9000000,-;Out of memory: Killed process 7 (firefox) total-vm:1kB\n"
        "3,6,9000001,-;Out of memory: Killed process 8 (python3) total-vm:1kB\n"
    )
    told = kernel_log(root)
    assert [line.split("  ")[-1][:12] for line in told.text.splitlines()] == [
        "hailo 0000:0", "pcieport 000", "hailo 0000:0", "Out of memor",
    ]  # fmt: skip
    assert "firefox" not in told.text
    assert len(told.wrong) == 1
    assert "Failed writing fw control" in told.wrong[0]


def test_a_crash_in_the_library_is_shown_and_is_no_error_of_the_driver(tmp_path: Path) -> None:
    root = make_root(tmp_path / "root")
    crash = "python3[9]: segfault at 5 ip 7 sp 8 error 4 in libhailort.so.4.23.0[231ba0,7fb6ffa81000+58f000]"
    (root / "dev/kmsg").write_text(f"6,1,5000000,-;{crash}\n")
    told = kernel_log(root)
    assert crash in told.text
    assert told.wrong == []
    (root / "dev/kmsg").write_text("3,4,8000000,-;hailo: Failed reading device BARs, error -5\n")
    assert kernel_log(root).wrong[0].startswith("the kernel log has an error of the driver, the last: 8.000")


def test_a_kernel_log_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr("shutil.which", lambda name: None)  # no dmesg, which might be allowed to
    told = kernel_log()
    assert told.text == "may not be read here. On the host: sudo dmesg | grep -iE 'hailo|oom-kill'"
    assert told.wrong == []
