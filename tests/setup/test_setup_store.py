"""Set-up and the model files, with the real store behind a stand-in docker and a real web server."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import file_server
import pytest
from file_server import FileServer
from hef_container import container, message
from project import without_own_models
from setup_planned import PlannedHost

LARGE = message() + b"\x12\x80\x80\x20" + bytes(range(256)) * 2048
"""Half a megabyte of a HEF's description."""


@pytest.fixture
def real(host: PlannedHost, tmp_path: Path) -> PlannedHost:
    """With the real store, and a pip that reaches no index: the real one takes long to find that out."""
    pip = tmp_path / "python/pip"
    pip.mkdir(parents=True)
    (pip / "__init__.py").touch()
    (pip / "__main__.py").write_text('import sys\n\nsys.exit("ERROR: Temporary failure in name resolution")\n')
    host.change(missing=None, python_path=str(pip.parent))
    return host


@pytest.fixture
def mirror() -> Iterator[FileServer]:
    with file_server.serving() as state:
        yield state


def offline(mirror: FileServer | None = None) -> dict[str, str]:
    """A network in which nothing but the mirror is reached."""
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "PIP_NO_INDEX": "1", "NO_PROXY": "127.0.0.1"}
    return nowhere | ({"MODELS_MIRROR": mirror.url} if mirror else {})


def models(host: PlannedHost) -> set[str]:
    return {path.name for path in (host.checkout / "models").iterdir() if not path.name.startswith(".")}


def test_a_cut_download_is_resumed_by_the_next_run(real: PlannedHost, mirror: FileServer) -> None:
    hef = container(2, LARGE)
    mirror.add("/scrfd_2.5g.hef", hef, cuts=[100_000, 0, 0, 0, 0])
    done = real.run("--yes", **offline(mirror))
    assert done.refused
    assert done.reason == "not all models could be fetched; the lines above say which and why."
    assert "it goes on where it stopped" in done.remedy
    assert "scrfd_2.5g.hef (faces), 4.0 MB" in done.out
    assert "arcface_r50.hef could not be fetched" in done.err
    assert "scrfd_2.5g.hef.part" in models(real)
    assert "build immich-ml-hailo:v4.23.0" not in real.changes(), "what is incomplete is not built in"

    mirror.asked.clear()
    mirror.files["/scrfd_2.5g.hef"].cuts.clear()
    done = real.run("--yes", "--missing-ok", "--no-start", **offline(mirror))
    assert done.code == 0, done.err
    assert [wanted for path, wanted in mirror.asked if path == "/scrfd_2.5g.hef"] == ["bytes=100000-"]
    assert (real.checkout / "models/scrfd_2.5g.hef").read_bytes() == hef
    assert "not all models could be fetched; going on without them" in done.out
    assert "their tasks are OFF" in done.out
    assert real.changes() == ["fetch", "build immich-ml-hailo:v4.23.0"]


def test_a_mirror_may_be_a_folder(real: PlannedHost, tmp_path: Path) -> None:
    folder = tmp_path / "my mirror"
    folder.mkdir()
    (folder / "scrfd_2.5g.hef").write_bytes(container(2))
    real.run("--yes", "--missing-ok", "--no-start", MODELS_MIRROR=str(folder), **offline())
    words = next(words for words in real.calls() if "fetch" in words)
    assert f"{folder}:/mirror:ro" in words
    assert "MODELS_MIRROR=/mirror" in words
    assert "scrfd_2.5g.hef" in models(real)


def test_files_that_cannot_be_used(real: PlannedHost) -> None:
    real.change(chip="hailo8l")
    (real.checkout / "models/scrfd_2.5g.hef").write_bytes(container(2))
    done = real.run("--yes", **offline())
    assert done.refused
    assert "scrfd_2.5g.hef (faces) is there but cannot be used: " in done.out
    assert "a Hailo-8L cannot run it" in done.out
    assert "cannot be used; the lines above say which and why." in done.reason
    assert "Delete those" in done.remedy
    assert "fetch" not in real.changes()


def test_a_damaged_file_is_fetched_anew(real: PlannedHost, tmp_path: Path) -> None:
    """Without the user's doing; the damaged one is kept."""
    file = real.checkout / "models/scrfd_2.5g.hef"
    file.write_bytes(container(2)[:-1])
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/scrfd_2.5g.hef").write_bytes(container(2))
    done = real.run("--yes", "--missing-ok", "--no-start", MODELS_MIRROR=str(tmp_path / "mirror"), **offline())
    assert done.code == 0, done.err
    assert "scrfd_2.5g.hef (faces), 4.0 MB: " in done.out
    assert "is cut off: " in done.out
    assert "It is replaced, and kept aside" in done.out
    assert file.read_bytes() == container(2)
    assert file.with_name("scrfd_2.5g.hef.damaged").read_bytes() == container(2)[:-1]


def test_on_the_processor(real: PlannedHost, face_models: Path, wheel_models: Path, tmp_path: Path) -> None:
    without_own_models()
    folder = tmp_path / "mirror"
    shutil.copytree(wheel_models, folder)
    shutil.copy(face_models / "scrfd_2.5g_bnkps.onnx", folder)
    real.no_card()
    done = real.run("--yes", "--cpu", "--missing-ok", "--no-start", MODELS_MIRROR=str(folder), **offline())
    assert done.code == 0, done.err
    assert {"scrfd_2.5g.onnx", "ppocrv5_mobile_det.onnx", "ppocrv5_mobile_rec.onnx", "ppocrv5_dict.txt"} <= models(real)
    assert "ocr: complete" in done.out
