"""The command line: what it prints, and how it ends; serving as a process of its own."""

import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import httpx
import numpy as np
import pytest
from light_towers import picture_tower
from PIL import Image
from project import PROJECT, TESTS, without_own_models
from simulated_card import DETECTOR, EMBEDDER
from text_pages import Sheet, latin
from worker_process import environment, free_port, serving, wait_for_ping

from ml_target.__main__ import main
from ml_target.api.serve import listen, prepare_process
from ml_target.catalogue.networks import ARCFACE_R50, SCRFD_2_5G, VIT_B_16
from ml_target.config import Settings, setting_names
from ml_target.diagnostics.drawing import draw
from ml_target.errors import SettingsError
from ml_target.tasks.faces.finder import Face
from ml_target.tasks.ocr.reader import Line


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A command in this process, with these settings and no others."""

    def ran(*arguments: str, **settings: str) -> Ran:
        for name in (name for item in fields(Settings) for name in setting_names(item.name)):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"ENGINE": "cpu", **settings}.items():
            monkeypatch.setenv(name, value)
        return Ran(main(list(arguments)), *capsys.readouterr())

    return ran


@pytest.fixture(scope="module")
def models(wheel_models: Path, small_face_models: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Text's networks, and small ones for faces."""
    folder = tmp_path_factory.mktemp("models")
    for file in wheel_models.iterdir():
        if file.suffix in (".onnx", ".txt", ".gz"):
            (folder / file.name).symlink_to(file)
    for network, name in ((SCRFD_2_5G, DETECTOR), (ARCFACE_R50, EMBEDDER)):
        (folder / network.onnx[0].name).symlink_to(small_face_models / name)
    return str(folder)


# --------------------------------------------------------------------- serve


def test_serve_tells_what_is_on_and_off_and_ends_when_told(models: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(log, MODELS_DIR=models) as (process, port):
        wait_for_ping(port)
        assert (
            httpx.get(f"http://[::1]:{port}/ping", verify=False).text == "pong" if socket.has_dualstack_ipv6() else True
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    text = log.read_text()
    assert "task ocr is on: network=paddle_ocr_v5_mobile_detection stage=detection engine=cpu" in text
    assert "task clip.visual is OFF: " in text
    assert "MODELS_MIRROR" in text
    assert "task facial-recognition is on: " in text
    assert "ready after" in text
    assert "Traceback" not in text


def test_a_damaged_file_turns_its_task_off(models: str, tmp_path: Path) -> None:
    without_own_models()
    folder = tmp_path / "models"
    folder.mkdir()
    for file in Path(models).iterdir():
        (folder / file.name).symlink_to(file.resolve())
    (folder / "ppocrv5_dict.txt").unlink()
    (folder / "ppocrv5_dict.txt").write_text("a\nb\n")
    log = tmp_path / "log"
    with serving(log, MODELS_DIR=str(folder)) as (_process, port):
        wait_for_ping(port)
        tasks = httpx.get(f"http://127.0.0.1:{port}/status", verify=False).json()["tasks"]
    assert tasks["facial-recognition"]["on"] is True
    assert tasks["ocr"]["fault"] is True
    text = log.read_text()
    (said,) = (line for line in text.splitlines() if "task ocr is OFF: " in line)
    assert " ERROR " in said
    assert tasks["ocr"]["why"] in said
    assert "text               OFF  ppocrv5_dict.txt is damaged" in text
    assert "Traceback" not in text
    assert "\x1b" not in text, "colour is for terminals"


def test_the_stand_in_is_named_and_never_replaces_an_explicit_recognizer(
    face_models: Path, wheel_models: Path, tmp_path: Path
) -> None:
    log, faces = tmp_path / "log", tmp_path / "faces"
    faces.mkdir()
    for file in face_models.glob("*.onnx"):
        (faces / file.name).symlink_to(file)
    with serving(log, MODELS_DIR=str(faces)) as (process, port):
        wait_for_ping(port)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert "faces are described by face_embedder_112_512" in log.read_text()
    both = tmp_path / "models"
    both.mkdir()
    for file in (*face_models.glob("*.onnx"), *wheel_models.iterdir()):  # text is on: a worker of nothing is not ready
        if file.suffix in (".onnx", ".txt"):
            (both / file.name).symlink_to(file)
    with serving(log, MODELS_DIR=str(both), FACE_RECOGNIZER="arcface_r50") as (_process, port):
        wait_for_ping(port)
        status = httpx.get(f"http://127.0.0.1:{port}/status", verify=False).json()
    assert status["tasks"]["facial-recognition"]["on"] is False
    assert "arcface_r50" in status["tasks"]["facial-recognition"]["why"]


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [("ENGINE", "gpu", "auto, hailo, cpu"), ("IMMICH_PORT", "x", "1 to 65535"), ("ENGINE", "hailo", "ENGINE=cpu")],
)
def test_a_bad_setting_stops_with_words(setting: str, value: str, words: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as stream:
        settings = {"IMMICH_PORT": str(free_port()), setting: value}
        code = subprocess.run(
            [sys.executable, "-m", "ml_target"], env=environment(**settings), cwd=PROJECT, stderr=stream, timeout=60
        ).returncode
    assert code == 1
    assert words in log.read_text()
    assert "Traceback" not in log.read_text()


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"Port {port} is taken.*IMMICH_PORT"):
            listen("127.0.0.1", port)
    with pytest.raises(SettingsError, match=r"Cannot listen on 203\.0\.113\.1"):
        listen("203.0.113.1", port)


@pytest.mark.parametrize("host", ["[::]", "::", "0.0.0.0", "127.0.0.1"])
def test_every_form_of_address(host: str) -> None:
    with listen(host, free_port()) as listener, socket.create_connection(("127.0.0.1", listener.getsockname()[1])):
        pass


def test_small_answers_leave_at_once() -> None:
    with listen("127.0.0.1", 0) as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "each would wait 40 ms otherwise"


def test_few_file_descriptors_are_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"now": (256, 256)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits["now"])
    prepare_process(1024)
    assert "only 256 file descriptors are allowed, too few for MAX_WAITING=1024" in caplog.text


def test_without_ipv6_all_addresses_means_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listen("[::]", free_port()) as listener:
        assert listener.family == socket.AF_INET


# ------------------------------------------------------------------- predict


def test_predict_answers_and_draws(run: Run, models: str, tmp_path: Path) -> None:
    drawing = tmp_path / "drawn.png"
    photo = TESTS / "test.jpg"
    result = run("predict", str(photo), "--task", "faces", "--task", "ocr", "--draw", str(drawing), MODELS_DIR=models)
    assert result.returncode == 0, result.stderr
    assert "faces: 4" in result.stdout
    assert re.search(r"lines of text: [1-9]", result.stdout)
    with Image.open(drawing) as drawn, Image.open(photo) as original:
        width, height = original.size
        assert drawn.size == (2 * width, height), "what was read stands beside the picture"
        changed = np.abs(np.asarray(drawn)[:, :width].astype(int) - np.asarray(original)).sum(axis=2) > 60
    assert 0.001 < changed.mean() < 0.2


def test_predict_reads_text_and_prints_json(run: Run, models: str, tmp_path: Path) -> None:
    page = Sheet(640, 160)
    page.write("Total 1,284.50 EUR", 60, 60, latin(False, 32))
    Image.fromarray(page.done("", "").picture).save(photo := tmp_path / "page.png")
    result = run("predict", str(photo), "--task", "ocr", MODELS_DIR=models)
    assert "Total 1,284.50 EUR" in result.stdout
    result = run("predict", str(photo), "--task", "ocr", "--json", MODELS_DIR=models)
    assert result.stdout.startswith('{"ocr":{"text":[')


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("/no/such/photo.jpg",), "cannot be read (No such file or directory)"),
        ((str(PROJECT / "pyproject.toml"),), "not a picture this worker can read"),
    ],
)
def test_predict_refuses_in_words(run: Run, arguments: tuple[str, ...], words: str, models: str) -> None:
    result = run("predict", *arguments, MODELS_DIR=models)
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_predict_says_which_task_is_off(run: Run, models: str) -> None:
    result = run("predict", str(TESTS / "test.jpg"), "--task", "clip", MODELS_DIR=models)
    assert result.returncode == 1
    assert "not answered: clip.visual (tinyclip) is off" in result.stderr
    assert result.stdout == ""


def test_predict_takes_the_backend_that_is_there(run: Run, tmp_path: Path) -> None:
    picture_tower(tmp_path / VIT_B_16.visual.onnx[0].name)
    result = run("predict", str(TESTS / "test.jpg"), "--task", "clip", MODELS_DIR=str(tmp_path), CLIP_BACKEND="auto")
    assert result.returncode == 0, result.stderr
    assert "512 numbers in space vit_b_16" in result.stdout


def test_a_drawing_marks_what_was_found_where_it_was_found(tmp_path: Path) -> None:
    picture = np.full((400, 600, 3), 255, np.uint8)
    landmarks = np.array([[60, 60], [90, 60], [75, 80], [65, 95], [85, 95]], np.float32)
    face = Face((50.0, 40.0, 100.0, 110.0), 0.9, landmarks, np.zeros(512, np.float32))
    corners = np.array([[0.5, 0.5], [0.9, 0.5], [0.9, 0.6], [0.5, 0.6]], np.float32)
    draw(picture, [face], [Line("héllo", corners, 0.9, 0.9)], tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        drawn = np.asarray(image)
    assert drawn[75, 50].tolist() == [0xFF, 0x9F, 0x1C], "the left side of the face's box"
    assert drawn[60, 60].tolist() == [0xE7, 0x1D, 0x36], "an eye"
    assert drawn[240, 400].tolist() == [0x2E, 0xC4, 0xB6], "the line's lower edge"
    assert drawn[350, 300].tolist() == [255, 255, 255], "nothing where nothing is"


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize("command", [("models", "list"), ("predict", "--text", "a dog")])
def test_a_slip_in_a_settings_name_gets_a_hint(run: Run, command: tuple[str, ...], tmp_path: Path) -> None:
    result = run(*command, MODELS_DIR=str(tmp_path), CLIP_BACKENDS="siglip", MACHINE_LEARNING_WORKERS="2")
    assert "CLIP_BACKENDS has no effect: there is no such setting. CLIP_BACKEND was meant, perhaps." in result.stderr
    assert "MACHINE_LEARNING_WORKERS has no effect: it is a setting of Immich's own worker, and one" in result.stderr


def test_a_bad_setting_is_told_before_anything_is_fetched(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    result = run("models", "fetch", MODELS_DIR=str(folder), HAILO_BATCH="64", MODELS_MIRROR=str(tmp_path))
    assert (result.returncode, result.stdout) == (1, "")
    assert "HAILO_BATCH=64: it takes a whole number from 1 to 63." in result.stderr
    assert not folder.exists()


def test_the_fallback_from_a_folder_that_is_not_there_is_told_at_once(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "modles"
    words = f"MODELS_DIR={folder} is not there: model files are taken from {PROJECT / 'models'}, and what is fetched"
    assert words in run("models", "missing", MODELS_DIR=str(folder)).stderr
    with serving(tmp_path / "log", MODELS_DIR=str(folder)) as (process, _port):
        deadline = time.monotonic() + 60
        while "process" not in (tmp_path / "log").read_text() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.1)
    text = (tmp_path / "log").read_text()
    assert words in text
    assert text.index(words) < text.index("task ")
