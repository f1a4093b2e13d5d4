"""The doctor on hosts made of files: every finding, every remedy, with a library of its own or none."""

import os
import re
import shutil
import sys
import weakref
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import hef_builder as build
import numpy as np
import pytest

from ml_target import hailo_host
from ml_target.diagnostics.doctor import checks, main
from ml_target.diagnostics.findings import as_text
from ml_target.diagnostics.memory import memory_check
from ml_target.engines.hailo_checks import host_checks
from ml_target.hailo_host import Finding, cards, driver_version, holders, nodes
from ml_target.hailo_package import explain_import

LOADED = {"sys/module/hailo_pci/version": "4.23.0"}
MEMORY = {"proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n"}


class Host:
    """A tree that looks like a host's /sys, /dev and /proc."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def write(self, files: dict[str, str]) -> "Host":
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n", encoding="ascii")
        return self

    def card(
        self,
        address: str = "0000:01:00.0",
        device: str = "0x2864",
        bound: bool = True,
        link: dict[str, str] | None = None,
    ) -> "Host":
        values = {"current_link_speed": "8.0 GT/s PCIe", "current_link_width": "4"}
        values |= {
            "max_link_speed": "8.0 GT/s PCIe",
            "max_link_width": "4",
            "vendor": "0x1e60",
            "device": device,
        }
        values |= link or {}
        self.write({f"sys/bus/pci/devices/{address}/{name}": value for name, value in values.items()})
        if bound:
            driver = self.root / "sys/bus/pci/drivers/hailo_pci"
            driver.mkdir(parents=True, exist_ok=True)
            (self.root / f"sys/bus/pci/devices/{address}/driver").symlink_to(driver)
        return self

    def node(self, name: str = "hailo0", listed: bool = True) -> "Host":
        self.write({f"dev/{name}": ""})
        return self.write({f"sys/class/hailo_chardev/{name}/uevent": ""}) if listed else self

    def healthy(self) -> "Host":
        return self.card().node().write(LOADED | MEMORY)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "root")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside, no library, a numpy that HailoRT takes."""
    for name in ("ENGINE", "CLIP_BACKEND", "CLIP_TEXT_ENGINE", "HAILO_DEVICE_IDS", "HAILORT_LOGGER_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    monkeypatch.setitem(sys.modules, "hailo_platform", None)
    monkeypatch.setattr(np, "__version__", "1.26.4")
    monkeypatch.setattr("importlib.metadata.version", lambda name: _raise(PackageNotFoundError))


def _raise(error: type[Exception]) -> Any:
    raise error


def find(found: list[Finding], what: str) -> Finding:
    (one,) = [finding for finding in found if finding.what == what]
    return one


def looked(host: Host, what: str, **more: Any) -> Finding:
    return find(host_checks(host.root, {}, **({"page_size": 4096} | more)), what)


# ---------------------------------------------------------------------- host


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
    assert checks(host.root) == [Finding(None, "card", "this machine has no Hailo card")]
    assert checks(host.root / "nothing here") == [Finding(None, "card", "this machine has no Hailo card")]


def test_several_cards_are_each_looked_at(host: Host) -> None:
    host.healthy().card("0000:02:00.0").node("hailo1")
    assert [f.what for f in host_checks(host.root, {}, 4096)].count("device node") == 2
    assert [f.what for f in host_checks(host.root, {}, 4096)].count("PCIe link") == 2


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
    assert (node.ok, node.detail) == (False, "no /dev/hailo0, though there are 1 cards on the bus")
    assert "Load the driver on the host first" in node.remedy


def test_the_driver_has_not_taken_the_card(host: Host) -> None:
    finding = looked(host.card(bound=False).write(LOADED), "driver")
    assert finding.ok is False
    assert finding.detail == "hailo_pci 4.23.0 is loaded, but has not taken the card at 0000:01:00.0"
    assert "dmesg | grep hailo" in finding.remedy
    assert "/lib/firmware/hailo/hailo8_fw.bin" in finding.remedy


def test_the_driver_for_newer_chips(host: Host) -> None:
    finding = looked(host.card(bound=False).write({"sys/module/hailo_pci/version": "5.1.0"}), "driver")
    assert (finding.ok, finding.detail) == (False, "hailo_pci 5.1.0 is loaded, which does not drive a Hailo-8")
    assert "Install the driver of branch 4" in finding.remedy


def test_a_driver_that_hides_its_version(host: Host) -> None:
    finding = looked(host.card().node().write({"sys/module/hailo_pci/refcnt": "0"}), "driver")
    assert (finding.ok, finding.detail) == (None, "hailo_pci is loaded and does not tell its version")


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
    assert (finding.ok, finding.detail) == (None, "speed and width cannot be told")


def test_large_pages(host: Host) -> None:
    host.healthy().write({"proc/device-tree/model": "Raspberry Pi 5 Model B\0"})
    finding = looked(host, "page size", page_size=16384)
    assert (finding.ok, finding.detail) == (None, "the kernel's pages have 16 KiB (Raspberry Pi 5 Model B)")
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
    assert memory_check(1, host.root / "nothing").ok is None


# ------------------------------------------------------------------- library


@pytest.mark.parametrize(
    ("error", "detail", "remedy"),
    [
        (
            ModuleNotFoundError("x", name="hailo_platform"),
            "is not installed here",
            "developer zone: pip install --no-d",
        ),
        (
            ImportError("_pyhailort version (4.22.0) does not match pyhailort version (4.23.0)"),
            "two versions of the Python package are mixed (4.22.0 and 4.23.0)",
            "pip uninstall hailort",
        ),
        (
            RuntimeError("libhailort version (4.21.0) does not match pyhailort version (4.23.0)"),
            "the library is version 4.21.0, the Python package 4.23.0",
            "Install both of the driver's version",
        ),
        (
            ImportError("libhailort.so.4.23.0: cannot open shared object file: No such file or directory"),
            "the library libhailort.so.4.23.0 is not installed",
            "dpkg-deb -x FILE.deb /",
        ),
        (ImportError("/lib/libc.so.6: version `GLIBC_2.38' not found"), "C library is older", "a newer system"),
        (ImportError("libx.so: invalid ELF header"), "another kind of processor", "Install the wheel and the library"),
        (ImportError("numpy.core.multiarray failed to import"), "this numpy", '"numpy<2"'),
        (
            ModuleNotFoundError("No module named 'hailo_platform.pyhailort._pyhailort'"),
            "its extension module is missing: it was built for another Python",
            "Install the wheel for this Python",
        ),
        (ModuleNotFoundError("No module named 'netaddr'"), "it needs the package netaddr", "pip install netaddr"),
        (OSError("strange"), "fails: OSError: strange", "install the same release of all"),
    ],
)
def test_every_failing_import_is_explained(error: Exception, detail: str, remedy: str) -> None:
    found = explain_import(error)
    assert detail in found[0]
    assert remedy in found[1]


class HailoRTException(Exception):
    pass


class Device:
    """As HailoRT's: it is released with its last reference, and what its control is asked for then fails."""

    def __init__(self, library: "Library") -> None:
        self._library: Library | None = library
        self.control = Control(weakref.ref(self))

    def ask(self, question: str) -> Any:
        if self._library is None:
            raise HailoRTException(RELEASED)
        return getattr(self._library, question)()

    def release(self) -> None:
        if self._library is not None:
            self._library.devices_released += 1
            self._library = None

    def __del__(self) -> None:
        self.release()


class Control:
    def __init__(self, device: "weakref.ref[Device]") -> None:
        self._device = device

    def _ask(self, question: str) -> Any:
        if (device := self._device()) is None:
            raise HailoRTException(RELEASED)
        return device.ask(question)

    def identify(self) -> Any:
        return self._ask("identify")

    def get_chip_temperature(self) -> Any:
        return self._ask("temperature")

    def power_measurement(self) -> Any:
        return self._ask("power")


RELEASED = "The device in use has been released. This can happen if the device is used in one-liner usage of control"


class Library:
    """A small stand-in for hailo_platform; attributes decide what fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, version: str = "4.23.0") -> None:
        self.architecture = "HAILO8"
        self.degrees = 48.5
        self.has_power = True
        self.device_error = self.open_error = self.temperature_error = ""
        self.firmware = "4.23.0 (release,app)"
        self.released = self.devices_released = 0
        self.params: Any = None
        module = ModuleType("hailo_platform")
        module.__dict__.update(
            __version__=version,
            Device=self.device,
            VDevice=self.virtual_device,
            HailoSchedulingAlgorithm=SimpleNamespace(ROUND_ROBIN=1),
        )
        self.virtual_device.__func__.create_params = lambda: SimpleNamespace()  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "hailo_platform", module)

    def device(self, *ids: str) -> "Device":
        self.ids = ids
        _fail(self.device_error)
        return Device(self)

    def identify(self) -> SimpleNamespace:
        return SimpleNamespace(device_architecture=self.architecture, firmware_version=self.firmware)

    def virtual_device(self, params: Any) -> SimpleNamespace:
        self.params = params
        _fail(self.open_error)
        return SimpleNamespace(release=lambda: setattr(self, "released", self.released + 1))

    def temperature(self) -> SimpleNamespace:
        _fail(self.temperature_error)
        return SimpleNamespace(ts0_temperature=self.degrees - 1, ts1_temperature=self.degrees)

    def power(self) -> float:
        _fail("" if self.has_power else "libhailort control operation failed")
        return 2.345


def _fail(text: str) -> None:
    if text:
        raise HailoRTException(text)


def status(number: int) -> str:
    return f"libhailort failed with error: {number} (HAILO_X)"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    return Library(monkeypatch)


def test_library_and_driver_of_one_version(host: Host, library: Library) -> None:
    assert find(checks(host.healthy().root, {}), "HailoRT") == Finding(True, "HailoRT", "version 4.23.0")


@pytest.mark.parametrize("version", ["4.22.0", "4.23.1", "5.23.0"])
def test_library_and_driver_of_two_versions(host: Host, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    Library(monkeypatch, version)
    finding = find(checks(host.healthy().root, {}), "HailoRT")
    assert finding.ok is False
    assert (
        finding.detail == f"version {version}, but the driver on the host is 4.23.0: the card will refuse (status 76)"
    )
    assert finding.remedy == f"Install HailoRT 4.23.0 here, or the driver {version} on the host"


def test_the_version_of_the_installed_package_counts(
    host: Host, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: {"hailort": "4.23.0+local"}[name])
    assert find(checks(host.healthy().root, {}), "HailoRT").detail == "version 4.23.0+local"


def test_no_library(host: Host) -> None:
    finding = find(checks(host.healthy().root, {}), "HailoRT")
    assert (finding.ok, finding.detail) == (False, "HailoRT's Python package is not installed here")


def test_numpy_2(host: Host, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "__version__", "2.1.0")
    finding = find(checks(host.healthy().root, {}), "numpy")
    assert (finding.ok, finding.detail) == (False, "version 2.1.0; HailoRT 4 is built for numpy 1")
    assert finding.remedy == 'pip install "numpy<2" "opencv-python-headless<4.12"'


# ------------------------------------------------------------------- command

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(host: Host, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command on this host: exit code, and the output with its columns closed up."""

    def command(*arguments: str) -> tuple[int, str]:
        code = main(list(arguments), host.root)
        return code, re.sub(" +", " ", capsys.readouterr().out)

    return command


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    """A whole HEF that fits, for a recogniser that has to be asked for."""
    path = tmp_path / "models" / "arcface_mobilefacenet.hef"
    path.write_bytes(build.mobilefacenet())
    return path


def test_without_a_card(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out = run()
    assert code == 0
    assert "this machine has no Hailo card; the CPU engine is used" in out
    assert out.endswith("nothing is wrong\n")
    monkeypatch.setenv("ENGINE", "cpu")
    assert run()[0] == 0
    monkeypatch.setenv("ENGINE", "hailo")
    code, out = run()
    assert code == 1
    assert "WRONG card this machine has no Hailo card; ENGINE=hailo cannot be" in out
    assert "-> Seat the card and look at lspci -d 1e60:; or ENGINE=cpu" in out
    assert out.endswith("1 wrong\n")


@pytest.mark.parametrize(("architecture", "chip"), [("HAILO8", "hailo8"), ("DeviceArchitecture.HAILO8L", "hailo8l")])
def test_the_chip_alone(host: Host, run: Run, library: Library, architecture: str, chip: str) -> None:
    host.healthy()
    library.architecture = architecture
    assert run("--chip") == (0, f"{chip}\n")


def test_the_chip_cannot_be_told(
    host: Host, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--chip") == (1, "")
    assert main(["--chip"], host.root) == 1
    words = capsys.readouterr().err
    assert "this machine has no Hailo card" in words
    assert "-> Seat the card" in words
    host.healthy()
    assert main(["--chip"], host.root) == 1
    assert "HailoRT's Python package is not installed here" in capsys.readouterr().err
    library = Library(monkeypatch)
    library.device_error = status(36)
    assert main(["--chip"], host.root) == 1
    words = capsys.readouterr().err
    assert words.startswith("WRONG  identity  HailoRTException: libhailort failed with error: 36")
    assert "\nok " not in words, "only what is wrong"
    library.device_error, library.architecture = "", "HAILO15H"
    assert main(["--chip"], host.root) == 1
    assert "This worker drives Hailo-8 and Hailo-8L" in capsys.readouterr().err


def test_a_bad_setting(run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ENGINE", "gpu")
    assert main([]) == 2
    assert "ENGINE=gpu" in capsys.readouterr().err


def test_all_is_well(host: Host, run: Run, library: Library, one_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACE_RECOGNIZER", "arcface_mobilefacenet")
    host.healthy()
    code, out = run("--open")
    assert code == 0, out
    assert "ok identity" in out
    assert "HAILO8, firmware 4.23.0 (release,app)" in out
    assert "48 °C" in out or "49 °C" in out
    assert "2.3 W" in out
    assert "the card can be opened" in out
    assert "arcface_mobilefacenet.hef fits, for Hailo-8" in out
    assert "note faces scrfd_2.5g.hef is not there: the task is off" in out
    assert "note models 5 files are not there (" in out
    assert "memory" in out
    assert library.released == 1
    assert library.params.scheduling_algorithm == 1


def test_findings_stand_in_columns() -> None:
    found = [Finding(True, "a", "one"), Finding(False, "longer", "two", "do this"), Finding(None, "b", "three")]
    assert as_text(found).splitlines() == [
        "ok     a       one",
        "WRONG  longer  two",
        "               -> do this",
        "note   b       three",
        "",
        "1 wrong",
    ]


def test_opening_is_asked_for(host: Host, run: Run, library: Library, one_file: Path) -> None:
    host.healthy()
    run()
    assert library.params is None


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (73, "another program holds this card"),
        (74, "no free card was found: another program holds it, or there is none"),
        (36, "no permission on /dev/hailo0"),
        (76, "the driver on the host is of another version"),
    ],
)
def test_a_card_that_cannot_be_opened(host: Host, run: Run, library: Library, number: int, words: str) -> None:
    library.open_error = status(number)
    host.healthy()
    code, out = run("--open")
    assert code == 1
    assert "WRONG opening" in out
    assert words in out


def test_a_card_that_does_not_answer(host: Host, run: Run, library: Library) -> None:
    library.device_error = "HailoRT device not found in the system"
    host.healthy()
    code, out = run()
    assert code == 1
    assert "WRONG identity HailoRTException: HailoRT device not found" in out
    assert "-> HailoRT reports 74 HAILO_OUT_OF_PHYSICAL_DEVICES" in out


def test_a_chosen_card(host: Host, run: Run, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAILO_DEVICE_IDS", "0000:01:00.0")
    host.healthy()
    run("--open")
    assert library.ids == ("0000:01:00.0",)
    assert library.params.device_ids == ["0000:01:00.0"]


def test_a_card_of_another_kind(host: Host, run: Run, library: Library) -> None:
    library.architecture = "HAILO15H"
    host.healthy()
    code, out = run()
    assert code == 1
    assert "WRONG identity HAILO15H, firmware" in out
    assert "-> This worker drives Hailo-8 and Hailo-8L: use such a card, or ENGINE=cpu" in out


@pytest.mark.parametrize(("degrees", "mark"), [(60.0, "ok"), (90.0, "note"), (104.0, "WRONG"), (120.0, "WRONG")])
def test_temperatures(host: Host, run: Run, library: Library, degrees: float, mark: str) -> None:
    library.degrees = degrees
    host.healthy()
    _, out = run()
    assert f"{mark} temperature {degrees:.0f} °C" in out
    assert ("heat sink" in out) == (degrees > 85)


def test_readings_that_are_not_to_be_had(host: Host, run: Run, library: Library) -> None:
    library.has_power = False
    library.temperature_error = status(18)
    host.healthy()
    _, out = run()
    assert "note temperature cannot be read" in out
    assert "HAILO_FW_CONTROL_FAILURE" in out
    assert "note power this board does not measure it" in out


def test_nothing_is_asked_of_a_card_behind_a_broken_library(
    host: Host, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Library(monkeypatch, "4.22.0")
    host.healthy()
    code, out = run("--open")
    assert code == 1
    assert "identity" not in out
    assert "opening" not in out


def test_engine_cpu_leaves_the_card_alone(
    host: Host, run: Run, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE", "cpu")
    host.healthy()
    code, out = run()
    assert code == 0
    assert "note ENGINE cpu: the card is left alone" in out
    assert "models" not in out


# --------------------------------------------------------------------- files


def test_no_model_files(host: Host, run: Run, library: Library) -> None:
    library.architecture = "HAILO8L"
    host.healthy()
    code, out = run()
    assert code == 1
    assert "WRONG models 6 files are not there: no task can be served (" in out
    assert "-> python3 -m ml_target models fetch --engine hailo --chip hailo8l" in out


def test_a_file_for_the_larger_chip(
    host: Host, run: Run, library: Library, one_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACE_RECOGNIZER", "arcface_mobilefacenet")
    library.architecture = "HAILO8L"
    host.healthy()
    code, out = run()
    assert code == 1
    assert "arcface_mobilefacenet.hef was compiled for Hailo-8, a Hailo-8L cannot run it" in out


def test_a_file_for_the_smaller_chip(
    host: Host, run: Run, library: Library, one_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACE_RECOGNIZER", "arcface_mobilefacenet")
    name = "arcface_mobilefacenet"
    layers = (build.picture(name, 112, 112), build.L(f"{name}/fc1", (1, 1, 512), format=2))
    one_file.write_bytes(build.simple(name, *layers, architecture=3))
    code, out = run_with(host, run)
    assert code == 0
    assert "a Hailo-8 runs it, only slower" in out


def run_with(host: Host, run: Run) -> tuple[int, str]:
    host.healthy()
    return run()


def test_text_on_the_processor_needs_no_text_tower(
    host: Host, run: Run, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "text_encoder.hef" in run_with(host, run)[1]
    monkeypatch.setenv("CLIP_TEXT_ENGINE", "cpu")
    assert "text_encoder.hef" not in run()[1]


def test_the_machine_itself_is_looked_at_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert "system" in capsys.readouterr().out
    assert hailo_host.nodes() == sorted(Path("/dev").glob("hailo[0-9]*"))
