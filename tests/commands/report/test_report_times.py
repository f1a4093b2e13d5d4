"""The times of the networks in the report, on the simulated card and on the processor."""

import re
import time
from pathlib import Path

import pytest
from hailo_sim import Rig, simulated
from hailo_worker import models_folder
from project import PROJECT
from report_run import run_report, section_of
from worker_process import environment, free_port

from ml_target.catalogue.networks import ARCFACE_R50, OCR_DETECTION, OCR_RECOGNITION, SCRFD_2_5G, TINYCLIP
from ml_target.diagnostics.report import process, timing
from ml_target.diagnostics.report import runs as report_runs
from ml_target.diagnostics.report.runs import Runs
from ml_target.diagnostics.report.times import Times, read, table

Capture = pytest.CaptureFixture[str]

FAILED = Times("scrfd", "hailo", failed="no card")


@pytest.fixture(scope="module")
def card_models(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All networks of the default settings, small, for the simulated card."""
    return models_folder(wheel_models, tmp_path_factory.getbasetemp())


def times_of(text: str) -> dict[str, Times]:
    """By network and engine."""
    return {f"{times.network} {times.engine}": times for times in read(text)}


def test_a_line_of_times_is_a_row_of_the_table() -> None:
    times = [
        Times("scrfd_2.5g", "hailo", 0.5, 4.25, 1.125, 8),
        Times("siglip", "cpu", 1.0, 900.0, 800.0, 2),
        FAILED,
        Times("arcface_r50", "cpu"),
    ]
    lines = [each.line() for each in times]
    assert read("\n".join([*lines, "noise", "[1]", lines[0][:-5]])) == times
    rows = [" ".join(row.split()) for row in table(times).splitlines()]
    assert rows == [
        "network on load s 1 frame ms 8 frames, ms each",
        "scrfd_2.5g hailo 0.50 4.25 1.12",
        "siglip cpu 1.00 900.00 800.00 (with 2)",
        "scrfd hailo FAILED: no card",
        "arcface_r50 cpu its file is not there",
    ]


@pytest.fixture
def timed(card_models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    for name, value in {"ENGINE": "hailo", "MODELS_DIR": str(card_models), "CLIP_BACKEND": "tinyclip"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("timed")
def test_every_network_is_timed_on_the_card(capsys: Capture) -> None:
    rig = Rig(clock="virtual")
    with simulated(rig):
        assert timing.main(["--seconds", "0.05"]) == 0
    assert not rig.held
    told = capsys.readouterr()
    times = times_of(told.out)
    for network in (TINYCLIP.visual, TINYCLIP.textual, SCRFD_2_5G, ARCFACE_R50, OCR_DETECTION, OCR_RECOGNITION):
        timed = times[f"{network.name} hailo"]
        assert timed.load_s >= 0
        assert timed.alone_ms > 0
        assert timed.burst_ms > 0
        assert f"timing: {network.name} on hailo" in told.err
    assert times["scrfd_2.5g cpu"] == Times("scrfd_2.5g", "cpu"), "its file is not there"


@pytest.mark.usefixtures("timed")
def test_a_card_that_is_held_or_fails_is_told(capsys: Capture) -> None:
    rig = Rig(clock="virtual")
    rig.faults.occupy()
    with simulated(rig):
        assert timing.main(["--seconds", "0.05"]) == 1
    assert times_of(capsys.readouterr().out)["the engine hailo"].failed
    rig = Rig(clock="virtual")
    rig.faults.refuse_configure(model="scrfd_2.5g")
    with simulated(rig):
        assert timing.main(["--seconds", "0.05"]) == 1
    times = times_of(capsys.readouterr().out)
    assert times["scrfd_2.5g hailo"].failed
    assert times["arcface_r50 hailo"].burst, "the others are timed all the same"


def test_without_any_file_the_times_name_the_network_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """As the doctor does, and not the stand-in, which is not there either."""
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("ENGINE", "cpu")
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    assert timing.main(["--seconds", "0.05"]) == 0
    times = times_of(capsys.readouterr().out)
    assert times["arcface_r50 cpu"] == Times("arcface_r50", "cpu"), "its file is not there"
    assert "face_embedder_112_512 cpu" not in times


def test_the_networks_are_timed_on_the_processor(
    face_models: Path, wheel_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    for file in (*face_models.glob("*.onnx"), wheel_models / "ppocrv5_mobile_rec.onnx"):
        (tmp_path / file.name).symlink_to(file.resolve())
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    monkeypatch.setenv("ENGINE", "cpu")
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    assert timing.main(["--seconds", "0.1"]) == 0
    times = times_of(capsys.readouterr().out)
    assert times["scrfd_2.5g cpu"].alone_ms > 0
    assert times["face_embedder_112_512 cpu"].alone_ms > 0, "the stand-in, as the worker takes it"
    assert times["paddle_ocr_v5_mobile_recognition cpu"].alone_ms > 0
    assert not times["paddle_ocr_v5_mobile_detection cpu"].burst, "its file is not there"


@pytest.mark.slow
def test_a_card_call_that_never_returns_does_not_hang_the_report(
    card_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the GIL, so nothing in that process can end it; what was measured before is told, and where it hangs."""
    monkeypatch.setattr(process, "GRACE_S", 2.0)
    monkeypatch.setattr(report_runs, "TIMES_S", 12.0)
    told: list[str] = []
    variables = environment(
        PYTHONPATH=f"{PROJECT / 'tests' / 'support' / 'hailo_sim' / 'site'}:{PROJECT}",
        ENGINE="hailo",
        MODELS_DIR=str(card_models),
        HAILO_SIM_FAULTS="slow:configure:600",
    )  # fmt: skip
    started = time.monotonic()
    section = Runs(variables, told.append).times()
    assert time.monotonic() - started < 60
    assert section.wrong[0].startswith("Times of the networks: stopped after ")
    assert "network " in section.text
    assert "most recent call first" in section.text
    assert "_configure" in section.text
    assert told[0].startswith("timing: ")


@pytest.mark.slow
def test_the_whole_report_with_a_simulated_card(card_models: Path, tmp_path: Path) -> None:
    result = run_report(
        cwd=tmp_path, PYTHONPATH=f"{PROJECT / 'tests' / 'support' / 'hailo_sim' / 'site'}:{PROJECT}", ENGINE="hailo",
        MODELS_DIR=str(card_models), HAILO_SIM_CLOCK="virtual", IMMICH_HOST="127.0.0.1", IMMICH_PORT=str(free_port()),
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    text = result.stdout
    selfcheck = section_of(text, "Selfcheck")
    assert "identity     HAILO8\nfirmware     4.23.0\n" in selfcheck
    assert "temperature" in selfcheck
    assert "hailort 4.23.0" in section_of(text, "Versions")
    assert re.search(r"scrfd_2\.5g +hailo +[\d.]+ +[\d.]+ +[\d.]+", section_of(text, "Times of the networks"))
    assert "scrfd_2.5g.hef" in section_of(text, "Model files")
    assert "selfcheck: " in text[: text.index("## Versions")]


@pytest.mark.usefixtures("timed")
def test_a_network_without_a_file_for_the_card_is_timed_on_the_processor_alone(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACE_RECOGNIZER", "buffalo_l")
    monkeypatch.setattr(timing, "_time_network", lambda engine, network, *_: Times(network.name, engine.name))
    with simulated(Rig(clock="virtual")):
        assert timing.main([]) == 0
    times = times_of(capsys.readouterr().out)
    assert "buffalo_l_recognition cpu" in times
    assert "buffalo_l_recognition hailo" not in times
    assert "scrfd_2.5g hailo" in times
