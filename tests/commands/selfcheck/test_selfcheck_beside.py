"""The selfcheck where one of the face networks runs on the processor beside the card: the other is compared."""

from pathlib import Path

import pytest
from immich_faces import put_files, take_any_file
from selfcheck_models import onnx_path
from selfcheck_run import FACES, Check

from ml_target.catalogue.networks import ARCFACE_R50, SCRFD_2_5G

TWIN = ("cosine_mean", "recall")
"""Figures that only a comparison gives."""


@pytest.fixture(autouse=True)
def immich_s_own(folder: Path, small_face_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_any_file(monkeypatch)
    put_files(folder, small_face_models)


@pytest.mark.parametrize(
    ("settings", "compared"),
    [
        ({"FACE_RECOGNIZER": "buffalo_l"}, {"faces.detection": True, "faces.recognition": False, "faces": True}),
        ({"FACE_DETECTOR": "buffalo_l"}, {"faces.detection": False, "faces.recognition": True, "faces": True}),
        (
            {"FACE_DETECTOR": "buffalo_l", "FACE_RECOGNIZER": "buffalo_l"},
            {"faces.detection": False, "faces.recognition": False, "faces": False},
        ),
    ],
    ids=["recogniser", "detector", "both"],
)
def test_what_runs_on_the_card_is_compared(check: Check, settings: dict[str, str], compared: dict[str, bool]) -> None:
    run = check("--json", *FACES, **settings)
    assert {name: any(key in run.figures(name) for key in TWIN) for name in compared} == compared
    assert [run.check(name)["reason"] for name in compared] == [""] * 3, "nothing is missing, nothing failed"


def test_what_lacks_its_twin_says_so(check: Check, folder: Path) -> None:
    """The recogniser of the card; the detector beside it needs none."""
    onnx_path(folder, ARCFACE_R50).unlink()
    onnx_path(folder, SCRFD_2_5G).unlink()
    run = check("--json", *FACES, FACE_DETECTOR="buffalo_l", FACE_RECOGNIZER="arcface_r50")
    assert run.check("faces.recognition")["reason"].startswith("arcface_r50.onnx, the same network for the processor")
    assert run.check("faces.detection")["reason"] == ""
