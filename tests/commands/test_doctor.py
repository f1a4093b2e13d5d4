"""The doctor on hosts made of files: every finding, every remedy, with a library of its own or none."""

import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import hef_builder as build
import numpy as np
import pytest
from hailo_sim.build import fingerprint
from standin_host import LOADED, MEMORY, Host, Library, find, status

from ml_target.catalogue.files import OCR_DICTIONARY
from ml_target.catalogue.needs import Need, needs
from ml_target.catalogue.networks import SCRFD_2_5G, STAND_IN_EMBEDDER
from ml_target.config import Settings, setting_names
from ml_target.diagnostics import tasks
from ml_target.diagnostics.doctor import checks, main
from ml_target.diagnostics.findings import as_text, verdict
from ml_target.diagnostics.setting_findings import read_settings
from ml_target.system import cards as hailo_host
from ml_target.system.cards import Finding

KERNEL = {"dev/kmsg": "5,1,1,-;hailo: Init module. driver version 4.23.0"}


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "root")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside, no library, a numpy that HailoRT takes."""
    monkeypatch.delenv("HAILORT_LOGGER_PATH", raising=False)
    (tmp_path / "models").mkdir()
    for name in (name for item in fields(Settings) for name in setting_names(item.name)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    monkeypatch.setitem(sys.modules, "hailo_platform", None)
    monkeypatch.setattr(np, "__version__", "1.26.4")
    monkeypatch.setattr("importlib.metadata.version", lambda name: _raise(PackageNotFoundError))


def _raise(error: type[Exception]) -> Any:
    raise error


# ------------------------------------------------------------------- library


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
def only_ocr(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is wanted but one file, which is there as it should be."""
    path = tmp_path / "models" / "ppocrv5_dict.txt"
    path.write_text("".join(f"{letter}\n" for letter in "abc"))
    dictionary = replace(OCR_DICTIONARY, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(tasks, "needs", lambda settings, engine, chip: [Need("ocr", "any", (dictionary,))])
    return path


@pytest.fixture
def only_embedder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is wanted but the recogniser, for which the stand-in is there."""
    path = tmp_path / "models" / STAND_IN_EMBEDDER.onnx[0].name
    path.write_bytes(b"\x08\x07")
    monkeypatch.setattr(
        tasks, "needs", lambda *_: [Need("faces", "any", STAND_IN_EMBEDDER.onnx, service="facial-recognition")]
    )
    monkeypatch.setattr("ml_target.store.Store.check", lambda *_: "")
    return path


@pytest.fixture
def face_files(one_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Faces are all that is wanted of the card, and both files are there."""
    (one_file.parent / "scrfd_2.5g.hef").write_bytes(fingerprint(SCRFD_2_5G))
    monkeypatch.setenv("FACE_RECOGNIZER", "arcface_mobilefacenet")
    monkeypatch.setattr(tasks, "needs", lambda *chosen: [need for need in needs(*chosen) if need.label == "faces"])
    return one_file.parent


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    """A whole HEF that fits, for a recogniser that has to be asked for."""
    path = tmp_path / "models" / "arcface_mobilefacenet.hef"
    path.write_bytes(build.mobilefacenet())
    return path


def test_without_a_card(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out = run()
    assert "ok card this machine has none; the processor runs the networks" in out
    assert "ok ONNX Runtime it can be loaded" in out
    assert "WRONG ocr off: ppocrv5_mobile_det.onnx, ppocrv5_mobile_rec.onnx, ppocrv5_dict.txt are not there" in out
    assert "-> python3 -m ml_target models fetch --engine cpu, or put them into" in out
    assert (code, out.endswith("4 wrong\n")) == (1, True), "no task can be served"
    monkeypatch.setenv("ENGINE", "cpu")
    assert run()[1].replace("ENGINE=cpu ", "") == out
    monkeypatch.setenv("ENGINE", "hailo")
    code, out = run()
    assert code == 1
    assert "WRONG card this machine has no Hailo card; ENGINE=hailo cannot be" in out
    assert "-> Seat the card and look at lspci -d 1e60:; or ENGINE=cpu" in out
    assert "scrfd_2.5g.hef, arcface_r50.hef are not there" in out
    assert out.endswith("5 wrong\n")


def test_without_a_card_and_all_is_there(run: Run, only_ocr: Path) -> None:
    code, out = run()
    assert code == 0, out
    assert "ok ocr on: ppocrv5_dict.txt" in out
    assert out.endswith("\n\nnothing is wrong\n")
    only_ocr.write_text("not the dictionary")
    code, out = run()
    assert code == 1
    assert "WRONG ocr off: " in out
    assert "ppocrv5_dict.txt" in out
    assert out.endswith("1 wrong\n")


def test_a_stand_in_is_no_secret(run: Run, only_embedder: Path) -> None:
    code, out = run()
    assert code == 0
    assert f"ok facial-recognition on: {only_embedder.name}" in out
    assert "note facial-recognition face_embedder_112_512.onnx is a stand-in embedder for tests: its vectors" in out


def test_a_card_that_auto_passes_over(host: Host, run: Run, only_ocr: Path) -> None:
    host.card().card("0000:02:00.0").listed("hailo0").listed("hailo1", "0000:02:00.0").write(LOADED)
    code, out = run()
    assert code == 0, "the processor serves"
    assert "note card the processor is used, although this host has a Hailo card at 0000:01:00.0: no device node" in out
    assert "-> To use it, pass --device=/dev/hailo0 to this container" in out
    assert "ENGINE=cpu says that the processor is meant" in out
    assert "note device node no /dev/hailo0, though there are 2 cards on the bus" in out
    assert "HailoRT's Python package" not in out, "which the processor does without"


def test_a_folder_that_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "none"))
    monkeypatch.setattr("ml_target.diagnostics.tasks.PROJECT", tmp_path)
    out = run()[1]
    assert f"note models {tmp_path}/none is not there; {tmp_path}/models is read in its place" in out
    (tmp_path / "models").rmdir()
    assert f"WRONG models {tmp_path}/none is not there -> Make it, or set MODELS_DIR" in " ".join(run()[1].split())
    monkeypatch.setattr("os.access", lambda path, mode: False)
    (tmp_path / "none").mkdir()
    assert f"WRONG models {tmp_path}/none cannot be looked into" in run()[1]


def test_no_onnx_runtime(run: Run, only_ocr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "needs", lambda settings, engine, chip: [Need("ocr", "cpu", (OCR_DICTIONARY,))])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, out = run()
    assert code == 1
    assert "WRONG ONNX Runtime the CPU engine needs onnxruntime" in out
    assert "Install it: pip install onnxruntime" in out


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


def test_bad_settings_hide_nothing_else(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], only_ocr: Path
) -> None:
    monkeypatch.setenv("ENGINE", "gpu")
    monkeypatch.setenv("IMMICH_PORT", "many")
    monkeypatch.setenv("HAILO_BATCH", "4")
    monkeypatch.setenv("MODELS_MIRROR", "http://somebody:secret@mirror.lan")
    code, out = run()
    assert code == 2
    assert "WRONG setting ENGINE=gpu: it takes one of auto, hailo, cpu. Correct it, or leave it out for the def" in out
    assert "WRONG setting IMMICH_PORT=many: it takes a whole number from 1 to 65535" in out
    assert "-> Until then the worker does not start" in out
    assert "ok settings HAILO_BATCH=4 MODELS_DIR=" in out
    assert "secret" not in out
    assert "ok ocr on:" in out
    assert out.endswith("2 wrong\n")
    assert main(["--chip"]) == 2
    assert "ENGINE=gpu" in capsys.readouterr().err


def test_a_hint_is_a_note() -> None:
    settings, found = read_settings({"HAILO_BATCH": "4", "HAILO_BACTH": "8"})
    assert settings.hailo_batch == 4
    assert found == [
        Finding(None, "setting", "HAILO_BACTH has no effect: there is no such setting. HAILO_BATCH was meant, perhaps"),
        Finding(True, "settings", "HAILO_BATCH=4"),
    ]


def test_help_tells_the_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "exit status: 0 nothing wrong was found, 1 something is wrong or a task is off, 2 a setting is bad" in out


def test_all_is_well(host: Host, run: Run, library: Library, face_files: Path) -> None:
    host.healthy().write(KERNEL | MEMORY)
    code, out = run("--open")
    assert code == 0, out
    assert "ok identity HAILO8\n" in out
    assert "ok firmware 4.23.0\n" in out
    assert "48 °C" in out or "49 °C" in out
    assert "2.3 W" in out
    assert "the card can be opened" in out
    assert "ok kernel log no trouble with the card since its driver was loaded" in out
    assert "ok facial-recognition on: scrfd_2.5g.hef, arcface_mobilefacenet.hef" in out
    assert "memory" in out
    assert out.endswith("\n\nnothing is wrong\n")
    assert library.released == 1
    assert library.devices_released == 1
    assert library.params.scheduling_algorithm == 1


def test_what_was_not_looked_at_is_told(host: Host, run: Run, library: Library, face_files: Path) -> None:
    host.healthy()
    code, out = run()
    assert code == 0
    assert "note kernel log it may not be read here -> On the host: sudo dmesg" in " ".join(out.split())
    assert out.endswith("\n\nnothing wrong was found; not looked at: kernel log\n")


def test_the_kernels_words_lead_to_what_helps(host: Host, run: Run, library: Library, face_files: Path) -> None:
    host.healthy().write({"dev/kmsg": "3,9,9,-;hailo 0000:01:00.0: Device disconnected while opening device"})
    _, out = run()
    assert "note kernel log the card has fallen off the bus: hailo 0000:01:00.0: Device disconnected while" in out
    assert "-> Reboot the host; loading the driver again is not enough" in out


def test_a_damaged_file_turns_one_task_off(
    host: Host, run: Run, library: Library, face_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (face_files / "scrfd_2.5g.hef").read_bytes()
    (face_files / "scrfd_2.5g.hef").write_bytes(whole[:-1])
    host.healthy().write(KERNEL)
    code, out = run()
    assert code == 1
    assert "WRONG facial-recognition off: " in out
    assert "scrfd_2.5g.hef is cut off: " in out
    assert "-> Fetch it again: python3 -m ml_target models fetch" in out
    spare = face_files.parent / "spare" / "models"
    spare.mkdir(parents=True)
    (spare / "scrfd_2.5g.hef").write_bytes(whole)
    monkeypatch.setattr("ml_target.store.command.PROJECT", spare.parent)
    code, out = run()
    assert code == 0, "another one serves in its place, as in the worker"
    assert "note facial-recognition scrfd_2.5g.hef serves in its place, for " in out


def test_another_network_stops_the_worker(host: Host, run: Run, library: Library, face_files: Path) -> None:
    (face_files / "scrfd_2.5g.hef").write_bytes(build.mobilefacenet())
    host.healthy().write(KERNEL)
    code, out = run()
    assert code == 1
    assert "WRONG facial-recognition the worker does not start: " in out
    assert "scrfd_2.5g.hef does not fit scrfd_2.5g" in out


def test_one_missing_file_turns_one_task_off(host: Host, run: Run, library: Library, face_files: Path) -> None:
    (face_files / "scrfd_2.5g.hef").unlink()
    host.healthy().write(KERNEL)
    code, out = run()
    assert code == 1
    assert "WRONG facial-recognition off: scrfd_2.5g.hef is not there" in out
    assert "-> python3 -m ml_target models fetch --engine hailo --chip hailo8, or put them into" in out
    assert out.endswith("1 wrong\n")


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


def test_findings_stand_in_columns() -> None:
    found = [Finding(True, "a", "one"), Finding(False, "longer", "two", "do this"), Finding(None, "b", "three")]
    assert as_text(found).splitlines() == [
        "ok     a       one",
        "WRONG  longer  two",
        "               -> do this",
        "note   b       three",
    ]


def test_the_last_line() -> None:
    right, wrong, left = Finding(True, "a", ""), Finding(False, "b", ""), Finding(None, "c", "", looked=False)
    assert verdict([right, Finding(None, "d", "")]) == "nothing is wrong"
    assert verdict([right, wrong]) == "1 wrong"
    assert verdict([right, left, left]) == "nothing wrong was found; not looked at: c"
    assert verdict([wrong, left]) == "1 wrong; not looked at: c"


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


def test_engine_cpu_leaves_the_card_alone(
    host: Host, run: Run, library: Library, monkeypatch: pytest.MonkeyPatch, only_ocr: Path
) -> None:
    monkeypatch.setenv("ENGINE", "cpu")
    host.healthy()
    code, out = run()
    assert code == 0
    assert "note card it is left alone (ENGINE=cpu)" in out
    assert "ok ocr on:" in out
    assert out.endswith("nothing wrong was found; not looked at: card\n")
    assert library.ids is None


# --------------------------------------------------------------------- files


def test_no_model_files(host: Host, run: Run, library: Library) -> None:
    library.architecture = "HAILO8L"
    host.healthy()
    code, out = run()
    assert code == 1
    for task in ("clip.visual (tinyclip)", "clip.textual (tinyclip)", "facial-recognition", "ocr"):
        assert f"WRONG {task} off: " in out
    assert "-> python3 -m ml_target models fetch --engine hailo --chip hailo8l" in out
    assert "4 wrong" in out


def test_a_file_for_the_larger_chip(
    host: Host, run: Run, library: Library, one_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACE_RECOGNIZER", "arcface_mobilefacenet")
    library.architecture = "HAILO8L"
    host.healthy()
    code, out = run()
    assert code == 1
    assert "arcface_mobilefacenet.hef was compiled for Hailo-8, a Hailo-8L cannot run it" in out


def test_a_file_for_the_smaller_chip(host: Host, run: Run, library: Library, face_files: Path) -> None:
    name = "arcface_mobilefacenet"
    layers = (build.picture(name, 112, 112), build.L(f"{name}/fc1", (1, 1, 512), format=2))
    (face_files / f"{name}.hef").write_bytes(build.simple(name, *layers, architecture=3))
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
