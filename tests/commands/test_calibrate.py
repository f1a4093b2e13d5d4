"""`calibrate`: faces of a folder of photos as the compiler wants them, and what is said where there are none."""

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import from_onnx
from pictures import read_rgb
from PIL import Image
from project import TESTS
from simulated_card import DETECTOR, hef_path

from ml_target.__main__ import main
from ml_target.catalogue.networks import SCRFD_2_5G
from ml_target.diagnostics.calibrate import output
from ml_target.diagnostics.calibrate.collecting import SHARP, sharpness
from ml_target.diagnostics.checks.samples import BOARD, FACE_LANDMARKS, Samples
from ml_target.engines.hailo import engine as hailo
from ml_target.tasks.faces.align import align
from ml_target.tensors import UInt8

Calibrate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four faces in each of three photos, whose faces are 130, 130 and 65 pixels wide; no photo, and no picture."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    shutil.copy(BOARD, folder / "board.jpg")
    shutil.copy(TESTS / "test.jpg", folder / "below" / "test.jpg")
    small = cv2.resize(Samples.load().board, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    Image.fromarray(np.asarray(small, np.uint8)).save(folder / "small.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.fixture
def calibrate(
    small_face_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Calibrate:
    """Runs the command on the processor, where only the detector is there: status, output, errors."""
    models = tmp_path / "models"
    models.mkdir()
    (models / SCRFD_2_5G.onnx[0].name).symlink_to(small_face_models / DETECTOR)
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    monkeypatch.setattr(hailo, "host_checks", lambda **_: [])

    def run(*words: str | Path, **settings: str) -> tuple[int, str, str]:
        for name, value in {"ENGINE": "cpu", "MODELS_DIR": str(models), **settings}.items():
            monkeypatch.setenv(name, value)
        code = main(["calibrate", *map(str, words)])
        return (code, *capsys.readouterr())

    return run


def array(folder: Path) -> UInt8:
    found: UInt8 = np.load(folder / output.ARRAY)
    return found


def test_faces_are_written_as_the_compiler_wants_them(calibrate: Calibrate, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    code, words, errors = calibrate(photos, out, "--a-photo", "4")
    assert code == 0
    crops = array(out)
    assert crops.shape == (8, 112, 112, 3)
    assert crops.dtype == np.dtype(np.uint8)
    files = sorted((out / output.CROPS).iterdir())
    assert [file.name for file in files] == [f"{n:05}.png" for n in range(1, 9)]
    for crop, file in zip(crops, files, strict=True):
        np.testing.assert_array_equal(read_rgb(file), crop)
    assert read_rgb(out / output.SHEET).shape == (output.THUMB, 8 * output.THUMB, 3)
    # In the colours and in the pose that the recogniser gets: the detector of this test stands a few pixels beside.
    wanted = np.stack(align(Samples.load().board, FACE_LANDMARKS))
    nearest = [min(np.abs(crop.astype(float) - each).mean() for crop in crops) for each in wanted]
    assert max(nearest) < 15
    assert min(np.abs(crops[..., ::-1].astype(float) - wanted[0]).mean(axis=(1, 2, 3))) > max(nearest)
    assert "8 faces of 2 photos; 4 of 4 were looked at" in words
    assert "left out: 4 faces under 80 pixels, 0 blurred, 0 beyond" in words
    assert "1 files that cannot be read" in words
    assert "docs/compiling.md" in words
    assert "8 faces are too few: the compiler takes its statistics from 64" in errors


def test_the_same_folder_gives_the_same_faces_and_the_limits_hold(
    calibrate: Calibrate, photos: Path, tmp_path: Path
) -> None:
    one, two, all_of_them = (tmp_path / name for name in ("one", "two", "all"))
    for out, limit in ((one, "3"), (two, "3"), (all_of_them, "9")):
        assert calibrate(photos, out, "--count", limit, "--a-photo", "2", "--side", "40")[0] == 0
    np.testing.assert_array_equal(array(one), array(two))
    assert len(array(one)) == 3
    assert len(array(all_of_them)) == 6, "two of each of three photos"
    np.testing.assert_array_equal(array(all_of_them)[:3], array(one))


def test_the_detector_runs_on_the_card_where_it_does_for_the_worker(
    calibrate: Calibrate, small_face_models: Path, photos: Path, tmp_path: Path
) -> None:
    hef_path(tmp_path / "models", SCRFD_2_5G).write_bytes(from_onnx(SCRFD_2_5G, small_face_models / DETECTOR, []))
    with simulated(Rig(clock="virtual")) as rig:
        code, words, _ = calibrate(photos, tmp_path / "out", ENGINE="hailo")
    assert (code, rig.record.opened, bool(rig.held)) == (0, 1, False)
    assert rig.record.models["scrfd_2_5g"].frames >= 3
    assert "6 faces of 2 photos" in words


def test_what_is_there_is_not_overwritten(calibrate: Calibrate, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert calibrate(photos, out)[0] == 0
    before = array(out)
    code, _, errors = calibrate(photos, out)
    assert code == 1
    assert "is there already and not empty; nothing in it is overwritten. Name a new folder" in errors
    np.testing.assert_array_equal(array(out), before)
    code, _, errors = calibrate(photos, photos / "board.jpg")
    assert code == 1
    assert "is there already" in errors
    (tmp_path / "mount point").mkdir()
    assert calibrate(photos, tmp_path / "mount point")[0] == 0


def test_every_refusal_says_what_to_do(calibrate: Calibrate, photos: Path, tmp_path: Path) -> None:
    locked, empty = tmp_path / "locked", tmp_path / "empty"
    for folder in (locked, empty):
        folder.mkdir()
    locked.chmod(0o555)
    for words, reason, remedy in (
        ((tmp_path / "gone", tmp_path / "out"), "is not a folder that can be read", "Name a folder of photos"),
        ((empty, tmp_path / "out"), "has no files that end in", "Name a folder of photos"),
        ((photos, locked / "out"), "cannot be written", "Name a folder that this user may write"),
        ((photos, tmp_path / "out", "--side", "500"), "no face of 500 pixels was found", "or lower --side"),
    ):
        code, _, errors = calibrate(*words)
        assert code == 1
        assert reason in errors
        assert remedy in errors
        assert not (tmp_path / "out").exists()
    code, _, errors = calibrate(photos, tmp_path / "out", FACE_DETECTOR="scrfd_10g")
    assert code == 1
    assert "scrfd_10g.onnx is not there: run" in errors


@pytest.mark.parametrize("words", [("--count", "0"), ("--count", "9000"), ("--a-photo", "x"), ("--side", "-1")])
def test_a_wrong_number_names_the_right_ones(
    calibrate: Calibrate, capsys: pytest.CaptureFixture[str], words: tuple[str, str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        calibrate("photos", "out", *words)
    assert ended.value.code == 2
    assert "it takes a whole number from 1 to" in capsys.readouterr().err


@pytest.mark.parametrize("there", [True, False])
def test_a_full_disk_leaves_nothing_half_done(
    calibrate: Calibrate, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    code, _, errors = calibrate(photos, out)
    assert code == 1
    assert "cannot be written (No space left on device). Free space there" in errors
    assert out.exists() == there
    assert not there or not list(out.iterdir())


def test_blurred_faces_are_known_in_any_light() -> None:
    board = Samples.load().board
    for light in (1.0, 0.4):
        for sigma, sharp in ((0, True), (1, True), (6, False)):
            lit = np.asarray(board * light, np.uint8)
            blurred = np.asarray(cv2.GaussianBlur(lit, (0, 0), sigma) if sigma else lit, np.uint8)
            assert [sharpness(crop) >= SHARP for crop in align(blurred, FACE_LANDMARKS)] == [sharp] * 4
    assert sharpness(np.full((112, 112, 3), 7, np.uint8)) == 0.0


def test_a_large_set_has_a_sheet_of_rows(tmp_path: Path) -> None:
    crops = [np.full((112, 112, 3), n % 256, np.uint8) for n in range(70)]
    picture = output.sheet(crops)
    assert picture.shape == (3 * output.THUMB, output.ACROSS * output.THUMB, 3)
    assert (picture[output.THUMB, 0] == 32).all()
