"""The selfcheck where files or packages are missing: what is not compared, and the remedy."""

import sys
from pathlib import Path

import pytest
from hailo_sim.build import fingerprint
from selfcheck_models import onnx_path
from selfcheck_run import ALL, CHECKS, CLIP, FACES, OCR, Check, nothing
from simulated_card import hef_path

from ml_target.catalogue.networks import (
    ARCFACE_R50,
    OCR_RECOGNITION,
    SCRFD_2_5G,
    STAND_IN_EMBEDDER,
    TINYCLIP,
)
from ml_target.remedies import fetch

pytestmark = pytest.mark.slow  # each runs whole networks, on the simulated card and on the processor


def test_without_files_for_the_processor_nothing_is_compared(check: Check, folder: Path, fewer: None) -> None:
    for file in folder.glob("*.onnx"):
        file.unlink()
    run = check("--json")
    assert run.code == 3
    assert run.verdicts() == dict.fromkeys(ALL, "not checked")
    assert run.report["summary"] == "NOTHING WAS COMPARED; what was answered looks right by itself"
    for name in ALL:
        told = run.check(name)
        assert told["figures"], f"{name}: what the card answers is looked at all the same"
        if name != "clip search (tinyclip)":
            assert told["remedy"] == fetch("--engine", "cpu")
            assert "the same network for the processor, is not there" in told["reason"]
    assert "scrfd_2.5g.onnx and arcface_r50.onnx" in run.check("faces")["reason"]


def test_a_wrong_card_shows_even_without_the_processor(check: Check, folder: Path, fewer: None) -> None:
    for file in folder.glob("*.onnx"):
        file.unlink()
    hef_path(folder, SCRFD_2_5G).unlink()
    hef_path(folder, SCRFD_2_5G).write_bytes(nothing(SCRFD_2_5G))
    run = check("--json", *FACES)
    assert run.code == 1
    assert run.verdicts()["faces.detection"] == "WRONG"


def test_the_stand_in_is_never_compared_with_arcface(check: Check, folder: Path, fewer: None) -> None:
    """Both have 512 numbers, in different spaces."""
    onnx_path(folder, ARCFACE_R50).rename(folder / STAND_IN_EMBEDDER.onnx[0].name)
    run = check("--json", *FACES)
    assert run.code == 0
    assert run.verdicts() == {"faces.detection": "right", "faces.recognition": "not checked", "faces": "not checked"}
    told = run.check("faces.recognition")
    assert told["reason"] == "arcface_r50.onnx, the same network for the processor, is not there"
    # A fetch for the engine would take the stand-in for good.
    assert told["remedy"] == fetch("arcface_r50.onnx")
    assert STAND_IN_EMBEDDER.onnx[0].name not in [entry["file"] for entry in run.report["files"]]
    assert "faces are described by" not in run.err, "nor is it thought of"


def test_a_damaged_file_of_the_processor_is_not_the_cards_fault(check: Check, folder: Path, fewer: None) -> None:
    onnx_path(folder, ARCFACE_R50).unlink()
    onnx_path(folder, ARCFACE_R50).write_bytes(b"\x08\x07nonsense")
    run = check("--json", *FACES)
    assert run.code == 0
    told = run.check("faces.recognition")
    assert told["verdict"] == "not checked"
    assert told["reason"].startswith("the processor's own files: ")
    assert "arcface_r50.onnx is damaged" in told["reason"]


def test_a_task_without_files_is_one_line(check: Check, folder: Path) -> None:
    hef_path(folder, OCR_RECOGNITION).unlink()
    run = check("--json", *OCR)
    assert (run.code, run.verdicts()) == (3, {"ocr": "not checked"})
    assert run.report["summary"] == "NOTHING WAS CHECKED"
    assert run.check("ocr")["reason"] == "paddle_ocr_v5_mobile_recognition.hef is not there"
    assert run.check("ocr")["remedy"].startswith(f"run {fetch()}, put ")


def test_without_onnx_runtime_the_card_is_looked_at_alone(
    check: Check, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hef_path(folder, TINYCLIP.visual).unlink()
    hef_path(folder, TINYCLIP.visual).write_bytes(fingerprint(TINYCLIP.visual))
    hef_path(folder, TINYCLIP.textual).unlink()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    run = check("--json", *CLIP)
    assert set(run.figures("clip.visual (tinyclip)")) == {"apart", "copies"}
    assert "Install it: pip install onnxruntime" in run.check("clip.visual (tinyclip)")["reason"]


def test_without_onnx_runtime_the_processor_cannot_be_looked_at(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    run = check("--json", ENGINE="cpu")
    assert (run.code, run.verdicts()) == (3, {"engine": "not checked"})
    assert "the CPU engine needs onnxruntime" in run.check("engine")["reason"]
    assert run.check("engine")["remedy"] == "Install it: pip install onnxruntime"


def test_queries_on_the_processor_are_not_compared(check: Check) -> None:
    run = check("--json", *CLIP, CLIP_TEXT_ENGINE="cpu")
    assert run.code == 0
    assert run.verdicts() == dict.fromkeys(CHECKS["clip"], "right")
    assert set(run.figures("clip.textual (tinyclip)")) == {"apart"}
    assert run.check("clip.textual (tinyclip)")["ms"]["cpu"] is None
    assert "CLIP_TEXT_ENGINE=cpu" in run.report["header"]["settings"]


def test_every_backend_is_listed_where_all_are_served(check: Check) -> None:
    run = check("--json", *CLIP, CLIP_BACKEND="tinyclip,siglip,siglip2")
    assert run.code == 0
    assert [run.verdicts()[f"clip.visual ({name})"] for name in ("tinyclip", "siglip", "siglip2")] == [
        "right",
        "not checked",
        "not checked",
    ]
