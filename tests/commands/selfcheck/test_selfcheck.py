"""The selfcheck on right files: the form of its report, its arguments."""

import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from project import PROJECT
from selfcheck_models import onnx_path
from selfcheck_run import ALL, CHECKS, CLIP, FACES, Check
from simulated_card import hef_path

from ml_target.__main__ import main
from ml_target.catalogue.networks import (
    ARCFACE_R50,
    OCR_DETECTION,
    OCR_RECOGNITION,
    SCRFD_2_5G,
    TINYCLIP,
)
from ml_target.diagnostics.checks.samples import Samples
from ml_target.remedies import fetch
from ml_target.tasks.faces.detect import FaceDetector


@pytest.mark.slow
def test_right_files_are_right_and_the_report_has_its_form(check: Check, folder: Path) -> None:
    run = check("--json")
    report = run.report
    assert run.verdicts() == dict.fromkeys(ALL, "right")
    assert (run.code, report["verdict"], report["exit_code"], report["compared"]) == (0, "right", 0, True)
    assert report["summary"] == "right: 9 right"
    assert set(report) == {
        "schema", "verdict", "summary", "exit_code", "compared", "header", "checks", "files",
    }  # fmt: skip
    assert report["schema"] == 1
    assert {"worker", "system", "python", "settings", "engine", "HailoRT", "identity"} <= set(report["header"])
    assert all(isinstance(words, str) for words in report["header"].values())
    assert (report["header"]["identity"], report["header"]["firmware"]) == ("HAILO8", "4.23.0")
    assert "onnxruntime" in report["header"]["python"]
    assert platform.machine() in report["header"]["system"]
    for entry in report["checks"]:
        assert set(entry) == {"name", "verdict", "files", "figures", "ms", "reason", "remedy"}
        assert entry["figures"]
        assert (entry["reason"], entry["remedy"]) == ("", "")
        assert all((folder / name).exists() for name in entry["files"])
        for figure in entry["figures"]:
            assert set(figure) == {"key", "what", "of", "value", "right", "near", "better", "verdict", "words"}
            assert figure["better"] in ("higher", "lower")
            assert "%" not in figure["what"]
        served, cpu = entry["ms"]["served"], entry["ms"]["cpu"]
        assert (served is None) == (cpu is None) == (entry["name"] == "clip search (tinyclip)")
        assert served is None or (served > 0 and cpu > 0)
    for entry in report["files"]:
        assert set(entry) == {"file", "engine", "sha256", "note"}
        assert len(entry["sha256"]) == 12
    used = {entry["file"]: entry["engine"] for entry in report["files"]}
    for network in (SCRFD_2_5G, ARCFACE_R50, OCR_DETECTION, OCR_RECOGNITION, TINYCLIP.visual, TINYCLIP.textual):
        assert used[network.hef["hailo8"].name] == "hailo"
        assert used[network.onnx[0].name] == "cpu"
    assert len(used) == 12


@pytest.mark.slow
def test_the_report_for_people(check: Check, folder: Path) -> None:
    onnx_path(folder, TINYCLIP.textual).unlink()
    run = check(*CLIP)
    lines = run.out.splitlines()
    assert run.code == 0
    assert lines[-1] == "right: 2 right, 1 not checked"
    assert any(line.startswith("worker ") and "immich-ml-hailo" in line for line in lines)
    assert any(line.startswith("right        clip.visual (tinyclip)  ") and " ms, CPU " in line for line in lines)
    at = next(n for n, line in enumerate(lines) if line.startswith("not checked  clip.textual (tinyclip)"))
    assert "text_encoder.onnx, the same network for the processor, is not there" in lines[at + 1]
    assert lines[at + 3] == f"{'':13}-> {fetch('--engine', 'cpu')}", lines[at : at + 4]
    assert "checking: smart search (tinyclip)" in run.err, "progress does not get into what is pasted"
    assert "checking" not in run.out


@pytest.mark.slow
def test_photos_of_the_user_are_compared_too(check: Check, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    gallery = Samples.gallery

    def spy(self: Samples) -> list[Any]:
        found = gallery(self)
        seen.extend(picture.shape for picture in found[-2:])
        return found

    monkeypatch.setattr(Samples, "gallery", spy)
    run = check("--json", *CLIP, str(photos / "coffee.jpg"), str(PROJECT / "tests" / "test.jpg"))
    assert run.code == 0
    with Image.open(photos / "coffee.jpg") as coffee:
        assert seen == [(coffee.height, coffee.width, 3), (1440, 1920, 3)]


def test_a_pasted_report_holds_nothing_private(check: Check, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    onnx_path(folder, TINYCLIP.textual).unlink()
    hef_path(folder, TINYCLIP.visual).unlink()
    settings = {"HF_ENDPOINT": "https://secret-hub.example", "MODELS_MIRROR": "https://alice:secret@mirror.example/x"}
    for words in (CLIP, (*CLIP, "--json")):
        run = check(*words, **settings)
        assert "put tinyclip_vit_39m_16_text_19m_yfcc15m_image_encoder.hef into ~/models" in run.out
        for private in (str(folder.parent), platform.node(), "secret", "alice"):
            assert private not in run.out


@pytest.mark.slow
def test_both_sides_look_for_faces_in_the_same_way(check: Check, fewer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces that one side alone looks for would count against the card."""
    modes: list[str] = []
    made = FaceDetector.__init__

    def noted(self: FaceDetector, detector: Any, host: Any, max_faces: int, mode: Any) -> None:
        modes.append(f"{detector.provenance.engine} {mode}")
        made(self, detector, host, max_faces, mode)

    monkeypatch.setattr(FaceDetector, "__init__", noted)
    run = check("--json", *FACES, FACE_SEARCH="both")
    assert run.verdicts() == dict.fromkeys(CHECKS["faces"], "right")
    assert modes == ["hailo both", "cpu both", "cpu both"]
    assert "FACE_SEARCH=both" in run.report["header"]["settings"]


def test_a_fault_of_our_own_costs_one_line(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> float:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("ml_target.diagnostics.checks.clip.same_neighbours", broken)
    run = check("--json", *CLIP)
    assert run.code == 1
    assert run.check("clip.visual (tinyclip)")["reason"] == (
        "ZeroDivisionError: by nothing. Please report it with this output."
    )
    assert run.verdicts()["clip.textual (tinyclip)"] == "right"


@pytest.mark.slow
def test_the_processor_alone(check: Check, fewer: None) -> None:
    run = check("--json", ENGINE="cpu")
    assert run.code == 0
    assert run.verdicts() == dict.fromkeys(ALL, "right")
    assert run.report["compared"] is False
    assert "nothing was compared" in run.report["summary"]
    assert run.report["header"]["engine"] == "cpu: there is no card to compare with"
    assert "HailoRT" not in run.report["header"]
    assert {figure for name in ALL for figure in run.figures(name)} == {
        "apart", "copies", "found", "known", "known_iou", "told_apart", "known_cer",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "settings", "told"),
    [
        (["/no/such/photo.jpg"], {}, "error: /no/such/photo.jpg cannot be read (No such file or directory)"),
        ([str(PROJECT / "pyproject.toml")], {}, "not a picture this worker can read"),
        ([], {"CLIP_BACKEND": "none"}, "CLIP_BACKEND=none: it takes one of"),
    ],
)
def test_what_cannot_be_read_is_told(
    words: list[str],
    settings: dict[str, str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert main(["selfcheck", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, told in err) == ("", True)


def test_help_tells_the_verdicts_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["selfcheck", "--help"])
    assert ended.value.code == 0
    assert "3 nothing could be checked" in capsys.readouterr().out


def test_figures_are_finite_or_null(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ml_target.diagnostics.checks.clip.same_neighbours", lambda a, b: float(np.nan))
    run = check("--json", *CLIP)
    assert run.code == 1
    (figure,) = [f for f in run.check("clip.visual (tinyclip)")["figures"] if f["key"] == "first_ten"]
    assert (figure["value"], figure["verdict"]) == (None, "WRONG")
