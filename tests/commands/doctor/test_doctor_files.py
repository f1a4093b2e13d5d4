"""The doctor on model files: which tasks are on with them."""

import sys
from collections.abc import Callable
from pathlib import Path

import hef_builder as build
import pytest
from standin_host import Host, Library

from ml_target.catalogue.files import OCR_DICTIONARY
from ml_target.catalogue.needs import Need
from ml_target.diagnostics import tasks
from ml_target.remedies import command

KERNEL = {"dev/kmsg": "5,1,1,-;hailo: Init module. driver version 4.23.0"}

Run = Callable[..., tuple[int, str]]


def test_a_stand_in_is_no_secret(run: Run, only_embedder: Path) -> None:
    code, out = run()
    assert code == 0
    assert f"ok facial-recognition on: {only_embedder.name}" in out
    assert "note facial-recognition face_embedder_112_512.onnx is a stand-in embedder for tests: its vectors" in out


def test_a_folder_that_is_not_there(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "none"))
    monkeypatch.setattr("ml_target.diagnostics.tasks.PROJECT", tmp_path)
    out = run()[1]
    assert f"note models {tmp_path}/none is not there; {tmp_path}/models is read in its place" in out
    (tmp_path / "models").rmdir()
    assert f"WRONG models {tmp_path}/none is not there -> Make it, or set MODELS_DIR" in " ".join(run()[1].split())
    monkeypatch.setattr("os.access", lambda path, mode: False)
    (tmp_path / "none").mkdir()
    assert f"WRONG models {tmp_path}/none cannot be read" in run()[1]


def test_no_onnx_runtime(run: Run, only_ocr: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "needs", lambda settings, engine, chip: [Need("ocr", "cpu", (OCR_DICTIONARY,))])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, out = run()
    assert code == 1
    assert "WRONG ONNX Runtime the CPU engine needs onnxruntime" in out
    assert "Install it: pip install onnxruntime" in out


def test_a_damaged_file_turns_one_task_off(
    host: Host, run: Run, library: Library, face_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (face_files / "scrfd_2.5g.hef").read_bytes()
    (face_files / "scrfd_2.5g.hef").write_bytes(whole[:-1])
    host.healthy().write(KERNEL)
    code, out = run()
    assert code == 1
    given = {"FACE_RECOGNIZER": "arcface_mobilefacenet", "MODELS_DIR": str(face_files)}
    assert "WRONG facial-recognition off: " in out
    assert "scrfd_2.5g.hef is cut off: " in out
    assert f"-> Fetch it again: {command('models fetch', **given)}" in out
    spare = face_files.parent / "spare" / "models"
    spare.mkdir(parents=True)
    (spare / "scrfd_2.5g.hef").write_bytes(whole)
    monkeypatch.setattr("ml_target.store.command.PROJECT", spare.parent)
    code, out = run()
    assert code == 0, "another one serves in its place, as in the worker"
    assert "note facial-recognition scrfd_2.5g.hef serves in its place, for " in out


def test_a_file_that_is_newer_than_hailort(
    host: Host, run: Run, face_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The doctor says what the log of the start says: HailoRT may refuse it, and which version does not."""
    Library(monkeypatch, "4.21.0")
    host.healthy().write({"sys/module/hailo_pci/version": "4.21.0"})
    out = run()[1]
    assert "note facial-recognition " in out
    assert "scrfd_2.5g.hef: it was compiled by the Dataflow Compiler 3.33.0 for HailoRT 4.23" in out
    assert "HailoRT here is 4.21.0, which may refuse it. If so: Install driver and HailoRT 4.23" in out


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
    given = {"FACE_RECOGNIZER": "arcface_mobilefacenet", "MODELS_DIR": str(face_files)}
    assert f"-> {command('models fetch --engine hailo --chip hailo8', **given)}, or put them into" in out
    assert out.endswith("1 wrong\n")


def test_no_model_files(host: Host, run: Run, library: Library, tmp_path: Path) -> None:
    library.architecture = "HAILO8L"
    host.healthy()
    code, out = run()
    assert code == 1
    for task in ("clip.visual (tinyclip)", "clip.textual (tinyclip)", "facial-recognition", "ocr"):
        assert f"WRONG {task} off: " in out
    fetch = command("models fetch --engine hailo --chip hailo8l", MODELS_DIR=str(tmp_path / "models"))
    assert f"-> {fetch}, or put them into" in out
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


def test_a_network_of_the_processor_beside_a_card(
    host: Host, run: Run, library: Library, face_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is looked for, and what runs it."""
    monkeypatch.setenv("FACE_RECOGNIZER", "buffalo_l")
    host.healthy().write(KERNEL)
    code, out = run()
    assert code == 1
    assert "WRONG facial-recognition off: buffalo_l_recognition.onnx is not there\n" in out
    assert "models fetch --engine hailo" in out
    assert "ok ONNX Runtime it can be loaded" in out
    (face_files / "buffalo_l_recognition.onnx").write_bytes(b"\x08\x07")
    monkeypatch.setattr("ml_target.store.Store.check", lambda *_: "")
    code, out = run()
    assert code == 0
    assert "ok facial-recognition on: scrfd_2.5g.hef, buffalo_l_recognition.onnx" in out
