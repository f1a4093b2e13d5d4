"""The doctor on the card: library, driver and firmware, what the card says of itself."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from standin_host import Host, Library, find, status

from ml_target.diagnostics import doctor
from ml_target.diagnostics.doctor import checks
from ml_target.system.finding import Finding

KERNEL = {"dev/kmsg": "5,1,1,-;hailo: Init module. driver version 4.23.0"}

Run = Callable[..., tuple[int, str]]


def test_library_and_driver_of_one_version(host: Host, library: Library) -> None:
    assert find(checks(host.healthy().root, {}), "HailoRT") == Finding(True, "HailoRT", "version 4.23.0")


@pytest.mark.parametrize("version", ["4.22.0", "4.23.1", "5.23.0"])
def test_library_and_driver_of_two_versions(host: Host, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    Library(monkeypatch, version)
    finding = find(checks(host.healthy().root, {}), "HailoRT")
    assert finding.ok is False
    assert (
        finding.detail == f"The driver on the host is version 4.23.0, HailoRT here is {version}; they must be the same"
    )
    assert (
        finding.remedy == f"Install HailoRT 4.23.0 (library and Python wheel), or the driver of {version} on the host"
    )


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


@pytest.mark.parametrize(("architecture", "chip"), [("HAILO8", "hailo8"), ("DeviceArchitecture.HAILO8L", "hailo8l")])
def test_the_chip_alone(host: Host, run: Run, library: Library, architecture: str, chip: str) -> None:
    host.healthy()
    library.architecture = architecture
    assert run("--chip") == (0, f"{chip}\n")


def test_the_chip_cannot_be_told(host: Host, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, words = run("--chip")
    assert code == 1
    assert "this machine has no Hailo card" in words
    assert "-> Seat the card" in words
    host.healthy()
    code, words = run("--chip")
    assert code == 1
    assert "HailoRT's Python package is not installed here" in words
    library = Library(monkeypatch)
    library.device_error = status(36)
    code, words = run("--chip")
    assert code == 1
    assert words.startswith("WRONG identity HailoRTException: libhailort failed with error: 36")
    assert "\nok " not in words, "only what is wrong"
    library.device_error, library.architecture = "", "HAILO15H"
    code, words = run("--chip")
    assert code == 1
    assert "This worker drives Hailo-8 and Hailo-8L" in words


def test_what_was_not_looked_at_is_told(host: Host, run: Run, library: Library, face_files: Path) -> None:
    host.healthy()
    code, out = run()
    assert code == 0
    assert "note kernel log this user cannot read it -> On the host: sudo dmesg" in " ".join(out.split())
    assert out.endswith("\n\nnothing wrong was found; not looked at: kernel log\n")


def test_the_kernels_words_lead_to_what_helps(host: Host, run: Run, library: Library, face_files: Path) -> None:
    host.healthy().write({"dev/kmsg": "3,9,9,-;hailo 0000:01:00.0: Device disconnected while opening device"})
    _, out = run()
    assert "note kernel log the card has fallen off the bus: hailo 0000:01:00.0: Device disconnected while" in out
    assert "-> Reboot the host; loading the driver again is not enough" in out


@pytest.mark.parametrize(
    ("firmware", "mark", "words"),
    [
        ("4.23.1 (release,app)", "note", "4.23.1, HailoRT here is 4.23.0: near enough to work"),
        (
            "4.22.0 (release,app)",
            "WRONG",
            "4.22.0, but HailoRT here is 4.23.0: the card will refuse commands (status 16)",
        ),
    ],
)
def test_firmware_of_another_version(
    host: Host, run: Run, library: Library, face_files: Path, firmware: str, mark: str, words: str
) -> None:
    library.firmware = firmware
    host.healthy()
    code, out = run()
    assert code == (mark == "WRONG")
    assert f"{mark} firmware {words}" in out
    assert "-> Install the driver's package of version 4.23.0 on the host, which brings the firmware" in out
    assert "then power the host off and on" in out


def test_the_card_is_asked_or_not_by_what_bars_it_and_not_by_a_heading(
    host: Host, run: Run, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.healthy()
    for bars in (False, True):
        wrong = Finding(False, "device node", "made up", bars=bars)
        monkeypatch.setattr(doctor, "host_checks", lambda *_, wrong=wrong, **__: [wrong])
        code, out = run()
        assert code == 1
        assert ("the card is not asked" in out) == bars
        assert ("ok identity HAILO8" in out) != bars


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
    assert "note identity the card is not asked while that is wrong" in out
    assert "not looked at: identity, kernel log" in out
    assert "opening" not in out
