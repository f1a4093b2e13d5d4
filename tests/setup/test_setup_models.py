"""setup.sh and the model files: which it wants, and the real store behind a stand-in docker and a real web server."""

import os
import pty
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import file_server
import pytest
from file_server import FileServer
from hef_container import container, message
from setup_host import STAT, SetupHost

from ml_target.config import Settings

LARGE = message() + b"\x12\x80\x80\x20" + bytes(range(256)) * 2048
"""Half a megabyte of a HEF's description."""


@pytest.fixture
def real(host: SetupHost, tmp_path: Path) -> SetupHost:
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


def models(host: SetupHost) -> set[str]:
    return {path.name for path in (host.checkout / "models").iterdir() if not path.name.startswith(".")}


# --------------------------------------------------------------------- chip


@pytest.mark.parametrize("chip", ["hailo8", "hailo8l"])
def test_the_card_is_asked_what_it_is(host: SetupHost, chip: str) -> None:
    host.change(chip=chip)
    done = host.run("--yes", "--no-start")
    assert f"the card is a {chip}" in done.out
    asked = next(words for words in host.calls() if words[-1] == "--chip")
    assert asked == [
        "run", "--rm", "--device=/dev/hailo0:/dev/hailo0", f"--group-add={host.group}",
        "--read-only", "-v", "/tmp", "--cap-drop", "all", "--security-opt", "no-new-privileges", "--pids-limit", "4096",
        "--entrypoint", "python3", "immich-ml-hailo:v4.23.0-slim", "-m", "ml_target", "doctor", "--chip",
    ]  # fmt: skip
    fetch = next(words for words in host.calls() if "fetch" in words)
    assert fetch[fetch.index("--chip") + 1] == chip


def test_a_chip_that_is_told_is_not_asked(host: SetupHost) -> None:
    done = host.run("--yes", "--no-start", "--chip", "hailo8l")
    assert "hailo8l, as told with --chip" in done.out
    assert not any(words[-1] == "--chip" for words in host.calls())


def test_a_card_that_does_not_say_what_it_is(host: SetupHost) -> None:
    host.fault("run --rm --device", "WRONG  identity  status 36")
    done = host.run("--yes")
    assert done.refused
    assert "WRONG  identity  status 36" in done.err
    assert done.reason == "the card does not say what it is."
    assert "./setup.sh --chip hailo8 (or hailo8l)" in done.remedy
    assert "fetch" not in host.changes()


# -------------------------------------------------------------------- which


@pytest.mark.parametrize("backend", ["", "siglip2", "vit_b_16,siglip", "auto"])
@pytest.mark.parametrize("cpu", [False, True])
def test_whose_files_are_wanted(host: SetupHost, backend: str, cpu: bool) -> None:
    """The store decides by the settings, and by what an image for a card holds besides."""
    host.run("--yes", "--no-start", *(["--cpu"] if cpu else []), **({"CLIP_BACKEND": backend} if backend else {}))
    for action in ("missing", "fetch"):
        words = next(words for words in host.calls() if action in words)
        assert words[words.index(f"CLIP_BACKEND={backend or Settings().clip_backend}") - 1] == "-e"
        assert words[words.index("--engine") + 1] == ("cpu" if cpu else "hailo")
        assert ("--baked" in words) != cpu


def test_settings_decide_what_is_wanted(host: SetupHost) -> None:
    host.run("--yes", "--no-start", FACE_DETECTOR="scrfd_10g")
    words = next(words for words in host.calls() if "fetch" in words)
    assert words[words.index("FACE_DETECTOR=scrfd_10g") - 1] == "-e"


def test_settings_that_are_kept_decide_too(host: SetupHost) -> None:
    settings = {"immich-ml-hailo.setup": "1", "immich-ml-hailo.settings": "IMMICH_PORT=65000 FACE_DETECTOR=scrfd_10g"}
    host.container(labels=settings)
    host.run("--yes", "--no-start")
    assert "FACE_DETECTOR=scrfd_10g" in next(words for words in host.calls() if "fetch" in words)


@pytest.mark.parametrize(
    ("uid", "security", "wanted"), [("0", "rootless", "7:8"), ("1000", "seccomp", "7:8"), ("1000", "rootless", "0:0")]
)
def test_files_belong_to_the_owner_of_the_folder(host: SetupHost, uid: str, security: str, wanted: str) -> None:
    host.script("id", f"#!/bin/sh\necho {uid}")
    host.script(
        "stat", '#!/bin/sh\ncase "$*" in *"%u:%g -- models") echo 7:8;; *) exec STAT "$@";; esac'.replace("STAT", STAT)
    )
    host.change(security=f"[name={security}]")
    host.run("--yes", "--no-start")
    words = next(words for words in host.calls() if "fetch" in words)
    assert words[words.index("--user") + 1] == wanted


# ------------------------------------------------------------------ offered


def test_nothing_is_fetched_without_a_yes(host: SetupHost) -> None:
    done = host.run_in_terminal("y\nn\nn\n")
    assert done.refused
    assert done.reason == "without them their tasks would be off."
    assert "MODELS_MIRROR=" in done.remedy
    assert "./setup.sh --missing-ok" in done.remedy
    assert "x.hef (faces)" in done.out
    assert "non-commercial research" in done.out
    assert "fetch" not in host.changes()


def test_going_on_without(host: SetupHost) -> None:
    done = host.run_in_terminal("y\nn\nn\n", "--missing-ok", "--no-start")
    assert done.code == 0, done.err
    assert host.changes()[-1] == "build immich-ml-hailo:v4.23.0"
    assert "their tasks are OFF" in done.out
    done = host.run("--dry-run", "--missing-ok")
    assert "--expect-all" not in done.out, "tasks may be off then"


def test_a_store_that_fails_is_told(host: SetupHost) -> None:
    host.fault("run --rm --network", "error: FACE_DETECTOR=x: it takes one of scrfd_2.5g, scrfd_10g")
    done = host.run("--yes")
    assert done.refused
    assert done.reason == "the model files could not be looked at."
    assert "it takes one of scrfd_2.5g" in done.err


def test_the_line_of_progress_gets_a_terminal(host: SetupHost) -> None:
    master, slave = pty.openpty()

    def drain() -> None:
        with suppress(OSError):
            while os.read(master, 4096):
                pass

    reader = threading.Thread(target=drain)
    reader.start()
    environment = {"PATH": str(host.bin), "SETUP_ROOT": str(host.root), "TMPDIR": str(host.temporary)}
    command = [str(host.checkout / "setup.sh"), "--yes", "--no-start"]
    subprocess.run(command, env=environment, stdin=slave, stdout=slave, stderr=slave, timeout=60, check=True)
    os.close(slave)
    reader.join()
    os.close(master)
    assert next(words for words in host.calls() if "fetch" in words)[:3] == ["run", "-it", "--rm"]
    assert not any("-it" in words for words in host.calls() if "missing" in words)


# --------------------------------------------------------------------- real


def test_a_cut_download_is_resumed_by_the_next_run(real: SetupHost, mirror: FileServer) -> None:
    hef = container(2, LARGE)
    mirror.add("/scrfd_2.5g.hef", hef, cuts=[100_000, 0, 0, 0, 0])
    done = real.run("--yes", **offline(mirror))
    assert done.refused
    assert done.reason == "not all models could be fetched; what stands above says which and why."
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


def test_a_mirror_may_be_a_folder(real: SetupHost, tmp_path: Path) -> None:
    folder = tmp_path / "my mirror"
    folder.mkdir()
    (folder / "scrfd_2.5g.hef").write_bytes(container(2))
    real.run("--yes", "--missing-ok", "--no-start", MODELS_MIRROR=str(folder), **offline())
    words = next(words for words in real.calls() if "fetch" in words)
    assert f"{folder}:/mirror:ro" in words
    assert "MODELS_MIRROR=/mirror" in words
    assert "scrfd_2.5g.hef" in models(real)


def test_files_that_cannot_be_used(real: SetupHost) -> None:
    real.change(chip="hailo8l")
    (real.checkout / "models/scrfd_2.5g.hef").write_bytes(container(2))
    done = real.run("--yes", **offline())
    assert done.refused
    assert "scrfd_2.5g.hef (faces) is there but cannot be used: " in done.out
    assert "a Hailo-8L cannot run it" in done.out
    assert "cannot be used; the lines above say which and why." in done.reason
    assert "Delete those" in done.remedy
    assert "fetch" not in real.changes()


def test_a_damaged_file_is_fetched_anew(real: SetupHost, tmp_path: Path) -> None:
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


def test_on_the_processor(real: SetupHost, face_models: Path, wheel_models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    shutil.copytree(wheel_models, folder)
    shutil.copy(face_models / "scrfd_2.5g_bnkps.onnx", folder)
    real.no_card()
    done = real.run("--yes", "--cpu", "--missing-ok", "--no-start", MODELS_MIRROR=str(folder), **offline())
    assert done.code == 0, done.err
    assert {"scrfd_2.5g.onnx", "ppocrv5_mobile_det.onnx", "ppocrv5_mobile_rec.onnx", "ppocrv5_dict.txt"} <= models(real)
    assert "ocr: complete" in done.out
