"""A HEF of the owner's own: selfcheck judges it, and the worker serves it only with that verdict."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from hailo_sim import Rig, simulated
from immich_faces import RECOGNIZER_FILE, put_files, take_any_file, write_own_hef
from project import TESTS
from selfcheck_models import onnx_path, other_weights, swap_colours, write_hef
from selfcheck_run import FACES, Check
from serving import live
from simulated_card import DETECTOR
from wire import FACES as ASKED
from wire import ask

from ml_target.__main__ import main
from ml_target.catalogue.networks import (
    ARCFACE_MOBILEFACENET,
    ARCFACE_R50,
    OCR_DETECTION,
    PPOCRV5_MOBILE,
    SCRFD_2_5G,
    W600K_R50,
)
from ml_target.config import Settings
from ml_target.diagnostics.checks.bounds import OWN_RECOGNITION, least
from ml_target.diagnostics.tasks import task_findings
from ml_target.engines.hailo import engine as hailo
from ml_target.errors import ModelError
from ml_target.runtime.verdicts import NAME, Parities, Parity

OWN = {"FACE_RECOGNIZER": "w600k_r50"}
SAME, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def folder(small_face_models: Path, tmp_path: Path) -> Path:
    """Faces alone: the detector on both sides, Immich's file for the processor, and a HEF of it."""
    made = tmp_path / "models"
    made.mkdir()
    onnx_path(made, SCRFD_2_5G).symlink_to(small_face_models / DETECTOR)
    write_hef(made, SCRFD_2_5G)
    put_files(made, small_face_models)
    write_own_hef(made, small_face_models)
    return made


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small networks pass for Immich's, though they tell nobody apart; the machine's own card has no say."""
    take_any_file(monkeypatch)
    monkeypatch.setattr(hailo, "host_checks", lambda **_: [])
    monkeypatch.setitem(OWN_RECOGNITION, "told_apart", least("nearer by", -1.0, -1.0))


def served(folder: Path) -> tuple[int, str, dict[str, object]]:
    """A request for faces to the worker: status, words, and what /status says of the task."""
    settings = Settings(engine="hailo", models_dir=folder, face_recognizer="w600k_r50")
    with simulated(Rig(clock="virtual")), live(settings=settings) as (client, _):
        answer = ask(client, ASKED, (TESTS / "test.jpg").read_bytes())
        return answer.status_code, answer.text, client.get("/status").json()["tasks"]["facial-recognition"]


def doctor_says(folder: Path) -> str:
    """Doctor's line on faces."""
    settings = Settings(engine="hailo", models_dir=folder, face_recognizer="w600k_r50")
    (line,) = [each for each in task_findings(settings, "hailo", "hailo8", Path("/")) if each.what.startswith("facial")]
    return f"{line.ok} {line.detail} {line.remedy}"


def test_it_is_served_once_selfcheck_has_found_it_near_the_onnx(
    check: Check, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    status, words, task = served(folder)
    assert "FACE_DETECTOR=scrfd_10g is recommended beside FACE_RECOGNIZER=w600k_r50" in caplog.text
    assert status == 503
    assert f"w600k_r50.hef was compiled by its owner, and has not been compared with {RECOGNIZER_FILE} yet" in words
    assert "selfcheck --task faces" in words
    assert "FACE_RECOGNIZER=buffalo_l runs the same network on the processor" in words
    assert task["fault"] is True
    assert doctor_says(folder).startswith("False off: w600k_r50.hef was compiled by its owner")

    run = check("--json", *FACES, str(TESTS / "test.jpg"), **OWN)
    assert run.figures("faces.recognition") == {
        "cosine_mean": "right",
        "cosine_least": "right",
        "colours": "right",
        "told_apart": "right",
    }
    (entry,) = json.loads((folder / NAME).read_text()).values()
    assert (entry["file"], entry["passed"]) == ("w600k_r50.hef", True)
    assert "cosine of the same crop mean" in entry["found"]

    status, words, task = served(folder)
    assert status == 200, words
    assert [(each["network"], each["engine"]) for each in task["networks"]] == [  # type: ignore[attr-defined]
        ("scrfd_2.5g", "hailo"),
        ("w600k_r50", "hailo"),
    ]
    assert doctor_says(folder).startswith("True on: ")


@pytest.mark.parametrize("change", [other_weights, swap_colours], ids=["weights", "colours"])
def test_a_file_that_is_too_far_is_refused_with_the_figures(
    check: Check, folder: Path, small_face_models: Path, change: object
) -> None:
    """The zoo's ArcFace under this name has other weights, too."""
    write_own_hef(folder, small_face_models, change)  # type: ignore[arg-type]
    run = check("--json", *FACES, **OWN)
    assert run.code == 1
    told = run.check("faces.recognition")
    assert told["verdict"] == "WRONG"
    assert told["remedy"].startswith("Compile it again, with more faces of your own (docs/compiling.md)")
    assert "models fetch" not in told["remedy"], "nobody publishes it"
    status, words, _ = served(folder)
    assert status == 503
    assert f"w600k_r50.hef is too far from {RECOGNIZER_FILE}, as selfcheck found: cosine of the same crop mean" in words
    assert "is too far" in doctor_says(folder)


def test_another_file_under_the_name_needs_a_verdict_of_its_own(
    check: Check, folder: Path, small_face_models: Path
) -> None:
    assert check("--json", *FACES, **OWN).check("faces.recognition")["verdict"] == "right"
    write_own_hef(folder, small_face_models, swap_colours)
    (folder / "checksums.json").unlink()
    status, words, _ = served(folder)
    assert status == 503
    assert "has not been compared" in words


def test_without_the_onnx_there_is_no_verdict(check: Check, folder: Path) -> None:
    (folder / RECOGNIZER_FILE).unlink()
    run = check("--json", *FACES, **OWN)
    told = run.check("faces.recognition")
    assert told["verdict"] == "not checked"
    assert f"{RECOGNIZER_FILE}, the same network for the processor, is not there" in told["reason"]
    assert "models fetch" in told["remedy"]
    assert not (folder / NAME).exists()


def test_a_verdict_that_cannot_be_written_is_a_fault(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ml_target.runtime.verdicts.write_json", full)
    told = check("--json", *FACES, **OWN).check("faces.recognition")
    assert told["verdict"] == "WRONG"
    assert f"{NAME} cannot be written" in told["reason"]
    assert "Run this where that folder can be written" in told["reason"]


def test_other_commands_refuse_it_as_the_worker_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"ENGINE": "hailo", "MODELS_DIR": str(folder), **OWN}.items():
        monkeypatch.setenv(name, value)
    with simulated(Rig(clock="virtual")):
        assert main(["predict", str(TESTS / "test.jpg"), "--task", "faces"]) == 1
    assert "has not been compared" in capsys.readouterr().err


@pytest.mark.parametrize(("called", "refused"), [(ARCFACE_R50, ""), (W600K_R50, ""), (ARCFACE_MOBILEFACENET, "it is")])
def test_it_may_call_itself_after_its_own_network_or_the_script_s(
    check: Check, folder: Path, small_face_models: Path, called: object, refused: str
) -> None:
    write_own_hef(folder, small_face_models, called=called)  # type: ignore[arg-type]
    run = check("--json", *FACES, **OWN)
    if refused:
        assert run.check("faces")["verdict"] == "WRONG"
        assert "it is arcface_mobilefacenet under this name" in run.check("faces")["reason"]
        assert "Compile it as docs/compiling.md says" in run.check("faces")["reason"]
    else:
        assert run.check("faces.recognition")["verdict"] == "right"


def test_on_a_host_without_a_card_the_same_setting_runs_immich_s_file(
    check: Check, folder: Path, small_face_models: Path
) -> None:
    run = check("--json", *FACES, ENGINE="cpu", **OWN)
    assert run.check("faces.recognition")["files"] == [RECOGNIZER_FILE]
    assert not (folder / NAME).exists()


# ----------------------------------------------------------------- the record


def parity(onnx: str, passed: bool = True) -> Parity:
    return Parity("w600k_r50.hef", onnx, passed, "cosine mean 0.99")


def test_a_verdict_holds_for_two_files_alone(tmp_path: Path) -> None:
    path, published = tmp_path / "w600k_r50.hef", str(W600K_R50.onnx[0].sha256)
    parities = Parities(tmp_path)
    parities.put(path, SAME, parity(published))
    parities.require(W600K_R50, path, SAME)
    with pytest.raises(ModelError, match="has not been compared"):
        parities.require(W600K_R50, path, OTHER)
    parities.put(path, SAME, parity(OTHER))
    with pytest.raises(ModelError, match="has not been compared"):
        parities.require(W600K_R50, path, SAME)
    parities.put(path, SAME, parity(published, passed=False))
    with pytest.raises(ModelError, match="as selfcheck found: cosine mean"):
        parities.require(W600K_R50, path, SAME)
    parities.require(SCRFD_2_5G, path, OTHER)


def test_what_to_do_follows_from_the_network(tmp_path: Path) -> None:
    """From its task, its choice on the processor and what it is calibrated on: it need not be one of faces."""
    own = replace(OCR_DETECTION, name="own_det", template=OCR_DETECTION, calibrated_on="pages")
    path, parities = tmp_path / "own_det.hef", Parities(tmp_path)
    with pytest.raises(ModelError, match="has not been compared") as refused:
        parities.require(own, path, SAME)
    assert "selfcheck --task ocr" in refused.value.remedy
    parities.put(path, SAME, parity(str(own.onnx[0].sha256), passed=False))
    with pytest.raises(ModelError, match="as selfcheck found: cosine mean") as refused:
        parities.require(own, path, SAME)
    assert refused.value.remedy == "Compile it again, with more pages of your own (docs/compiling.md)"
    with pytest.raises(ModelError) as refused:
        parities.require(replace(own, twin=PPOCRV5_MOBILE.detection), path, SAME)
    assert refused.value.remedy.endswith("; or OCR_MODEL=ppocrv5_mobile runs the same network on the processor")


def test_in_a_read_only_folder_the_verdict_lies_in_the_spare_one(tmp_path: Path) -> None:
    models, spare = tmp_path / "models", tmp_path / "spare"
    for folder in (models, spare):
        folder.mkdir()
    models.chmod(0o555)
    path, published = models / "w600k_r50.hef", str(W600K_R50.onnx[0].sha256)
    assert Parities(spare).put(path, SAME, parity(published)).parent == spare
    Parities(spare).require(W600K_R50, path, SAME)


@pytest.mark.parametrize("content", ["{", "[1]", '{"a": 1}', '{"a": {"file": "x"}}'])
def test_a_record_that_cannot_be_read_is_refused_with_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    with pytest.raises(ModelError, match="restore it, or delete it and run selfcheck again"):
        Parities(tmp_path).require(W600K_R50, tmp_path / "w600k_r50.hef", SAME)
