"""The selfcheck where the card is held, missing, or stops answering."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hailo_sim import Rig
from project import PROJECT
from selfcheck_run import FACES, OCR, Check, Run
from simulated_card import hef_path
from worker_process import free_port, wait_for_ping

from ml_target.__main__ import main
from ml_target.catalogue.networks import ARCFACE_R50, OCR_DETECTION, OCR_RECOGNITION, SCRFD_2_5G
from ml_target.diagnostics.checks import sides
from ml_target.remedies import command


def test_a_card_that_another_program_holds(check: Check) -> None:
    rig = Rig(clock="virtual")
    rig.faults.occupy()
    run = check("--json", rig=rig, CLIP_BACKEND="siglip")
    assert (run.code, run.verdicts()) == (3, {"engine": "not checked"})
    told = run.check("engine")
    assert told["reason"] == "the card is held by another program, most likely a running worker"
    assert told["remedy"] == (
        f"Stop it (a container: docker stop -t 30 immich-ml-hailo), then run this again: {command('selfcheck')}"
    )
    assert "HAILO8" in run.report["header"]["identity"], "the card tells what it is all the same"


def test_who_holds_it_is_named_where_it_can_be_seen(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sides, "holders", lambda: ["process 1 (python3)"])
    rig = Rig(clock="virtual")
    rig.faults.occupy()
    assert check("--json", rig=rig).check("engine")["reason"] == "the card is held by process 1 (python3)"


def test_no_card(check: Check) -> None:
    run = check("--json", rig=Rig(clock="virtual", cards=0))
    assert run.code == 3
    assert run.check("engine")["reason"] == "HailoRT finds no card here"
    assert f"{command('doctor')} says what is missing" in run.check("engine")["remedy"]
    assert run.report["files"] == []


def test_another_fault_of_the_card_keeps_its_words(check: Check) -> None:
    rig = Rig(clock="virtual", driver_version="4.22.0")
    run = check("--json", rig=rig)
    assert run.code == 3
    assert "INVALID_DRIVER_VERSION" in run.check("engine")["reason"]
    assert command("selfcheck", ENGINE="cpu") in run.check("engine")["remedy"]


def test_no_hailort(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ENGINE", "hailo")
    monkeypatch.setenv("MODELS_DIR", str(folder))
    monkeypatch.setitem(sys.modules, "hailo_platform", None)
    assert main(["selfcheck", "--json"]) == 3
    run = Run(3, *capsys.readouterr())
    assert "HailoRT's Python package is not installed here" in run.check("engine")["reason"]


def test_a_card_that_stops_answering(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report comes all the same, and what is left is not waited for."""
    monkeypatch.setattr(sides, "LIMIT_S", 2.0)
    rig = Rig()
    rig.faults.hang("scrfd_2.5g", bursts=10_000)
    run = check("--json", *FACES, *OCR, rig=rig)
    assert (run.code, run.verdicts()) == (1, {"faces": "WRONG", "ocr": "not checked"})
    assert run.check("faces")["reason"] == "No answer within 2 s."
    assert run.check("faces")["remedy"].startswith(command("doctor"))
    assert run.check("ocr")["reason"] == "the engine stopped answering before"


@pytest.mark.slow
def test_while_a_worker_runs_in_another_process(folder: Path, tmp_path: Path) -> None:
    """The worker serves on the simulated card; the selfcheck beside it cannot have it, and says so."""
    for network in (SCRFD_2_5G, ARCFACE_R50, OCR_DETECTION, OCR_RECOGNITION):
        hef_path(folder, network).unlink()  # smart search is enough
    port = str(free_port())
    environment = {
        **os.environ,
        "PYTHONPATH": f"{PROJECT / 'tests' / 'support' / 'hailo_sim' / 'site'}:{PROJECT}",
        "HAILO_SIM_HELD_BY": str(tmp_path / "hailo0"),
        "ENGINE": "hailo",
        "MODELS_DIR": str(folder),
        "IMMICH_PORT": port,
    }
    command = [sys.executable, "-m", "ml_target"]
    worker = subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        wait_for_ping(int(port))
        command = [sys.executable, "-m", "ml_target", "selfcheck", "--task", "clip"]
        during = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    finally:
        worker.terminate()
        worker.wait(30)
    after = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert during.returncode == 3
    assert "the card is held by another program" in during.stdout
    assert "docker stop -t 30 immich-ml-hailo" in during.stdout
    assert during.stdout.splitlines()[-1] == "NOTHING WAS CHECKED"
    assert after.returncode == 0, after.stderr
    assert after.stdout.splitlines()[-1] == "right: 3 right"
