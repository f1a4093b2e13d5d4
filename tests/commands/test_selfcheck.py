"""The selfcheck on the simulated card: right files, wrong ones, missing ones, no card, a card that is held."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hailo_sim import Rig, simulated
from hailo_sim.build import constant, faces, fingerprint
from hailo_sim.contracts import group_of
from hailo_sim.networks import forget_sessions
from PIL import Image
from project import PROJECT
from readme import README
from selfcheck_models import onnx_path, other_weights, swap_colours, write_hef, write_models
from simulated_card import hef_path
from worker_process import free_port, wait_for_ping

from ml_target import remedies
from ml_target.__main__ import main
from ml_target.catalogue.networks import (
    ARCFACE_R50,
    OCR_DETECTION,
    OCR_RECOGNITION,
    SCRFD_2_5G,
    STAND_IN_EMBEDDER,
    TINYCLIP,
)
from ml_target.catalogue.types import Network
from ml_target.config import Settings
from ml_target.diagnostics.card import library_version
from ml_target.diagnostics.checks import commands, sides
from ml_target.diagnostics.checks.samples import Samples
from ml_target.remedies import command
from ml_target.tasks.faces.detect import FaceSearch

CHECKS = {
    "clip": ["clip.visual (tinyclip)", "clip.textual (tinyclip)", "clip search (tinyclip)"],
    "faces": ["faces.detection", "faces.recognition", "faces"],
    "ocr": ["ocr.detection", "ocr.recognition", "ocr"],
}
ALL = [name for names in CHECKS.values() for name in names]
CLIP, FACES, OCR = (("--task", task) for task in CHECKS)


@pytest.fixture(scope="module")
def models(face_models: Path, wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with all files of the default settings, right ones."""
    folder = tmp_path_factory.mktemp("models")
    write_models(folder, face_models, wheel_models.resolve())
    yield folder
    forget_sessions()


@pytest.fixture
def folder(models: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    copied = tmp_path / "models"
    copied.mkdir()
    for file in models.iterdir():
        if file.name not in ("checksums.json", "text_layouts.json"):
            (copied / file.name).symlink_to(file.resolve())
    return copied


@pytest.fixture
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two photos with faces instead of four: enough to see that something is wrong."""
    boards = Samples.boards
    monkeypatch.setattr(Samples, "boards", lambda self: boards(self)[:2])


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside, and no spare folder with models."""
    for name in (
        "CLIP_BACKEND",
        "CLIP_TEXT_ENGINE",
        "FACE_RECOGNIZER",
        "FACE_DETECTOR",
        "FACE_SEARCH",
        "MODELS_MIRROR",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")


class Run:
    """What one run printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.report: dict[str, Any] = json.loads(out) if out.startswith("{") else {}

    def check(self, name: str) -> dict[str, Any]:
        (one,) = [check for check in self.report["checks"] if check["name"] == name]
        return dict(one)

    def verdicts(self) -> dict[str, str]:
        return {check["name"]: check["verdict"] for check in self.report["checks"]}

    def figures(self, name: str) -> dict[str, str]:
        return {figure["key"]: figure["verdict"] for figure in self.check(name)["figures"]}


Check = Callable[..., Run]


@pytest.fixture
def check(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs the command in this process."""

    def run(*words: str, rig: Rig | None = None, **settings: str) -> Run:
        given = {"ENGINE": "hailo", "MODELS_DIR": str(folder), **settings}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        card = simulated(rig or Rig(clock="virtual")) if given["ENGINE"] == "hailo" else nullcontext()
        with card as used:
            code = main(["selfcheck", *words])
        assert not isinstance(used, Rig) or not (used.held or used.record.crashes)
        return Run(code, *capsys.readouterr())

    return run


# ---------------------------------------------------------------------- right


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
            assert set(figure) == {"key", "what", "of", "value", "right", "near", "better", "verdict"}
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
    assert lines[at + 3] == f"{'':13}-> {command('models fetch --engine cpu')}", lines[at : at + 4]
    assert "checking: smart search (tinyclip)" in run.err, "progress does not get into what is pasted"
    assert "checking" not in run.out


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


def test_both_sides_look_for_faces_in_the_same_way(check: Check, fewer: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faces that one side alone looks for would count against the card."""
    modes: list[str] = []
    made = FaceSearch.__init__

    def noted(self: FaceSearch, detector: Any, host: Any, max_faces: int, mode: Any) -> None:
        modes.append(f"{detector.provenance.engine} {mode}")
        made(self, detector, host, max_faces, mode)

    monkeypatch.setattr(FaceSearch, "__init__", noted)
    run = check("--json", *FACES, FACE_SEARCH="both")
    assert run.verdicts() == dict.fromkeys(CHECKS["faces"], "right")
    assert modes == ["hailo both", "cpu both", "cpu both"]
    assert "FACE_SEARCH=both" in run.report["header"]["settings"]


# ---------------------------------------------------------------------- wrong


@pytest.mark.parametrize(
    ("network", "change", "task", "wrong"),
    [
        (TINYCLIP.visual, swap_colours, CLIP, {"clip.visual (tinyclip)": "colours"}),
        (TINYCLIP.visual, other_weights, CLIP, {"clip.visual (tinyclip)": "cosine_mean"}),
        (ARCFACE_R50, swap_colours, FACES, {"faces.recognition": "colours"}),
        (ARCFACE_R50, other_weights, FACES, {"faces.recognition": "cosine_mean", "faces": "cosine_mean"}),
        (OCR_DETECTION, swap_colours, OCR, {"ocr.detection": "colours"}),
        (OCR_RECOGNITION, other_weights, OCR, {"ocr.recognition": "cer", "ocr": "known_cer"}),
    ],
    ids=lambda value: getattr(value, "name", getattr(value, "__name__", None)),
)
def test_a_file_of_other_weights_or_colours_is_wrong(
    check: Check, folder: Path, fewer: None, network: Network, change: Any, task: tuple[str, ...], wrong: dict[str, str]
) -> None:
    hef_path(folder, network).unlink()
    write_hef(folder, network, change)
    run = check("--json", *task)
    assert run.code == 1
    assert run.report["verdict"] == "WRONG"
    for name, figure in wrong.items():
        assert run.check(name)["verdict"] == "WRONG"
        assert run.figures(name)[figure] == "WRONG"
        assert f"{command('models verify')}; then delete" in run.check(name)["remedy"]
        assert network.hef["hailo8"].name in run.check(name)["remedy"]


def nothing(network: Network) -> bytes:
    """Zeros for everything."""
    return constant(group_of(network), {})


@pytest.mark.parametrize(
    ("network", "content", "task", "wrong"),
    [
        (TINYCLIP.visual, fingerprint, CLIP, ["clip.visual (tinyclip)", "clip search (tinyclip)"]),
        (ARCFACE_R50, fingerprint, FACES, ["faces.recognition", "faces"]),
        (SCRFD_2_5G, lambda n: faces(n, ((5, 6), (8, 15))), FACES, ["faces.detection", "faces"]),
        (SCRFD_2_5G, nothing, FACES, ["faces.detection", "faces"]),
        (OCR_DETECTION, nothing, OCR, ["ocr.detection", "ocr"]),
        (OCR_RECOGNITION, fingerprint, OCR, ["ocr.recognition", "ocr"]),
    ],
    ids=["pictures: noise", "vectors: noise", "faces: elsewhere", "faces: none", "text: none", "words: noise"],
)
def test_a_card_that_answers_nonsense_is_wrong(
    check: Check, folder: Path, fewer: None, network: Network, content: Any, task: tuple[str, ...], wrong: list[str]
) -> None:
    hef_path(folder, network).unlink()
    hef_path(folder, network).write_bytes(content(network))
    run = check("--json", *task)
    assert run.code == 1
    assert [name for name, verdict in run.verdicts().items() if verdict == "WRONG"] == wrong


def test_a_text_tower_that_the_worker_would_refuse_leaves_the_others_checked(check: Check, folder: Path) -> None:
    hef_path(folder, TINYCLIP.textual).unlink()
    hef_path(folder, TINYCLIP.textual).write_bytes(fingerprint(TINYCLIP.textual, form=1))
    run = check("--json", *CLIP)
    assert run.code == 1
    assert run.verdicts() == dict(zip(CHECKS["clip"], ("right", "WRONG", "not checked"), strict=True))
    told = run.check("clip.textual (tinyclip)")
    assert "CLIP_TEXT_ENGINE=cpu" in told["reason"]
    assert run.check("clip search (tinyclip)")["reason"] == "it takes a picture tower and a text tower"


def test_a_file_for_another_chip_is_wrong_in_words(check: Check, folder: Path, fewer: None) -> None:
    hef_path(folder, OCR_DETECTION).unlink()
    hef_path(folder, OCR_DETECTION).write_bytes(nothing(OCR_DETECTION)[:-1])
    run = check("--json", *OCR)
    assert (run.code, run.verdicts()) == (1, {"ocr": "WRONG"})
    assert "paddle_ocr_v5_mobile_detection.hef" in run.check("ocr")["reason"]
    assert "etch it again" in run.check("ocr")["reason"]


def test_a_vector_of_zeros_is_wrong_in_words(check: Check, folder: Path) -> None:
    hef_path(folder, TINYCLIP.visual).unlink()
    hef_path(folder, TINYCLIP.visual).write_bytes(nothing(TINYCLIP.visual))
    run = check("--json", *CLIP)
    assert run.code == 1
    assert "gave a vector that is zero" in run.check("clip.visual (tinyclip)")["reason"]


# -------------------------------------------------------------------- missing


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
            assert told["remedy"] == command("models fetch --engine cpu")
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
    assert told["remedy"] == command("models fetch arcface_r50.onnx")
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
    assert run.check("ocr")["remedy"].startswith(f"run {command('models fetch')}, put ")


def test_without_onnx_runtime_the_card_is_looked_at_alone(
    check: Check, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hef_path(folder, TINYCLIP.visual).unlink()
    hef_path(folder, TINYCLIP.visual).write_bytes(fingerprint(TINYCLIP.visual))
    hef_path(folder, TINYCLIP.textual).unlink()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    run = check("--json", *CLIP)
    assert set(run.figures("clip.visual (tinyclip)")) == {"apart", "copies"}
    assert run.check("clip.visual (tinyclip)")["remedy"] == "Install it: pip install onnxruntime"


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
    run = check("--json", *CLIP, CLIP_BACKEND="auto")
    assert run.code == 0
    assert [run.verdicts()[f"clip.visual ({name})"] for name in ("tinyclip", "siglip", "siglip2")] == [
        "right",
        "not checked",
        "not checked",
    ]


# ----------------------------------------------------------------------- card


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


IMAGE = f"immich-ml-hailo:v{library_version() or 'VERSION'} python3 -m ml_target selfcheck"
NODE = "docker run --rm --device=/dev/hailo0:/dev/hailo0 --group-add=44"
MOUNT = '--user "$(stat -c %u:%g models)" -v "$PWD/models:/app/models:ro"'


@pytest.fixture
def image(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container of the image: a node of group 44, and models that are baked in."""
    node = tmp_path / "dev/hailo0"
    node.parent.mkdir()
    node.touch()
    os.chown(node, -1, 44)
    monkeypatch.setenv(remedies.IN_IMAGE, "1")
    monkeypatch.setattr(commands, "nodes", lambda root: [node])
    monkeypatch.setattr(remedies, "fetched_outside", lambda: True)
    monkeypatch.setattr(commands, "KEPT_BACK", (*commands.KEPT_BACK, "models_dir"))  # the tests' own


def test_the_readme_has_the_line_of_the_default_settings(image: None) -> None:
    line = commands.with_networks(Settings(), ("--engine", "cpu")).partition(": ")[2]
    line = line.replace("--group-add=44", "--group-add=0").replace("vVERSION", "v4.23.0")
    assert "\n".join(line.split("; ")) in README


@pytest.mark.parametrize("complete", [True, False])
def test_the_line_for_the_workers_place(check: Check, folder: Path, image: None, complete: bool) -> None:
    """With what brings the processor's networks before it, where they are missing."""
    if not complete:
        onnx_path(folder, ARCFACE_R50).unlink()
    rig = Rig(clock="virtual")
    rig.faults.occupy()
    told = check("--json", rig=rig, FACE_SEARCH="both", MAX_TEXT_TILES="2").check("engine")["remedy"]
    settings = "-e ENGINE=hailo -e FACE_SEARCH=both -e MAX_TEXT_TILES=2"
    run = f"docker stop -t 30 immich-ml-hailo; {NODE} {{}}{settings} {IMAGE}"
    fetch = "On the host, in this project's folder: scripts/models.sh fetch --engine cpu; "
    before = "Stop the worker and run this in its place: " if complete else fetch
    assert told == f"{before}{run.format('' if complete else f'{MOUNT} ')}; docker start immich-ml-hailo"


def test_the_line_where_the_card_is_free_and_networks_are_missing(check: Check, folder: Path, image: None) -> None:
    onnx_path(folder, TINYCLIP.textual).unlink()
    run = check("--json", *CLIP, CLIP_TEXT_ENGINE="same", FACE_DETECTOR="scrfd_10g")
    assert run.check("clip.textual (tinyclip)")["remedy"] == (
        "On the host, in this project's folder: FACE_DETECTOR=scrfd_10g scripts/models.sh fetch --engine cpu; "
        f"docker stop -t 30 immich-ml-hailo; {NODE} {MOUNT} -e ENGINE=hailo -e FACE_DETECTOR=scrfd_10g {IMAGE}; "
        "docker start immich-ml-hailo"
    )


def test_the_line_with_a_folder_that_is_mounted(
    check: Check, folder: Path, image: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The container has it from the worker's, and what cannot be fetched inside is fetched into that folder."""
    monkeypatch.setattr(remedies, "mounted", lambda: True)
    onnx_path(folder, TINYCLIP.textual).unlink()
    run = f"docker stop -t 30 immich-ml-hailo; {NODE} --volumes-from immich-ml-hailo -e ENGINE=hailo {IMAGE}"
    where = "On the host, in this project's folder (MODELS_DIR=FOLDER before it names the one that is mounted here): "
    told = check("--json", *CLIP).check("clip.textual (tinyclip)")["remedy"]
    assert told == f"{where}scripts/models.sh fetch --engine cpu; {run}; docker start immich-ml-hailo"
    monkeypatch.setattr(remedies, "fetched_outside", lambda: False)
    rig = Rig(clock="virtual")
    rig.faults.occupy()
    inside = "docker exec immich-ml-hailo python3 -m ml_target models fetch --engine cpu; "
    told = check("--json", rig=rig).check("engine")["remedy"]
    assert told == f"Stop the worker and run this in its place: {inside}{run}; docker start immich-ml-hailo"


def test_the_stand_in_does_not_keep_arcface_from_being_fetched(check: Check, folder: Path, image: None) -> None:
    onnx_path(folder, ARCFACE_R50).rename(folder / STAND_IN_EMBEDDER.onnx[0].name)
    rig = Rig(clock="virtual")
    rig.faults.occupy()
    assert (
        ": scripts/models.sh fetch arcface_r50.onnx; docker stop" in check("--json", rig=rig).check("engine")["remedy"]
    )


def test_every_setting_that_is_not_the_default_is_handed_on() -> None:
    settings = Settings(
        clip_backend="auto", hailo_device_ids=("0000:01:00.0", "0000:02:00.0"), hailo_group_id="my group",
        models_mirror="http://me:secret@files.lan", hf_endpoint="x", host="::1", port=1, log_level=10,
        request_timeout_s=20.5,
    )  # fmt: skip
    assert commands.changed(settings) == [
        "CLIP_BACKEND=auto", "HAILO_DEVICE_IDS=0000:01:00.0,0000:02:00.0", "HAILO_GROUP_ID='my group'",
        "REQUEST_TIMEOUT_S=20.5",
    ]  # fmt: skip
    assert Settings.from_environment({"HAILO_DEVICE_IDS": "0000:01:00.0,0000:02:00.0"}).hailo_device_ids == (
        "0000:01:00.0", "0000:02:00.0",
    )  # fmt: skip


def test_the_line_for_a_report_in_the_workers_place(image: None, monkeypatch: pytest.MonkeyPatch) -> None:
    told = commands.report_in_its_place(Settings(clip_backend="siglip"))
    run = f"{NODE} -e CLIP_BACKEND=siglip {IMAGE.partition(' ')[0]} python3 -m ml_target report > report.md"
    assert told == (
        "Run it in the worker's place, on the host: "
        f"docker stop -t 30 immich-ml-hailo; {run}; docker start immich-ml-hailo"
    )
    monkeypatch.delenv(remedies.IN_IMAGE)
    assert commands.report_in_its_place(Settings()) == f"Stop the worker, then run this again: {command('report')}"


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


def test_while_a_worker_runs_in_another_process(folder: Path, tmp_path: Path) -> None:
    """The worker serves on the simulated card; the selfcheck beside it cannot have it, and says so."""
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


# ------------------------------------------------------------------- processor


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
    ("network", "task", "wrong"),
    [
        (SCRFD_2_5G, FACES, ["faces.detection"]),
        (OCR_RECOGNITION, OCR, ["ocr.recognition", "ocr"]),
        (TINYCLIP.visual, CLIP, ["clip search (tinyclip)"]),
    ],
    ids=["faces", "words", "towers"],
)
def test_a_wrong_file_on_the_processor(
    check: Check, folder: Path, fewer: None, network: Network, task: tuple[str, ...], wrong: list[str]
) -> None:
    import onnx

    path = onnx_path(folder, network)
    model = onnx.load(str(path))
    path.unlink()
    other_weights(model)
    if network is OCR_RECOGNITION:  # the catalogue knows that file's checksum; this one's it does not
        path = folder / network.onnx[1].name
    onnx.save(model, str(path))
    run = check("--json", *task, ENGINE="cpu")
    assert run.code == 1
    assert [name for name, verdict in run.verdicts().items() if verdict == "WRONG"] == wrong


# ------------------------------------------------------------------- arguments


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
