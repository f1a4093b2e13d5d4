"""The command lines that the selfcheck tells where a container or a held card keeps it from comparing."""

import os
from pathlib import Path

import pytest
from hailo_sim import Rig
from readme import README
from selfcheck_models import onnx_path
from selfcheck_run import CLIP, Check
from standin_hailort import deb_name, wheel_name

from ml_target import remedies
from ml_target.catalogue.networks import (
    ARCFACE_R50,
    STAND_IN_EMBEDDER,
    TINYCLIP,
)
from ml_target.config import Settings
from ml_target.diagnostics.card import library_version
from ml_target.diagnostics.checks import commands
from ml_target.remedies import command

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


def test_the_line_of_an_image_that_takes_hailort_from_a_folder(image: None, tmp_path: Path) -> None:
    """Its name is not known inside, and it has HailoRT and the models from the worker's own folders."""
    (packages := tmp_path / "hailort").mkdir()
    for name in (deb_name(), wheel_name()):
        (packages / name).touch()
    line = commands.in_a_container(Settings(hailort_dir=packages), others=False)
    same = "\"$(docker inspect --format '{{.Image}}' immich-ml-hailo)\" python3 -m ml_target selfcheck"
    assert line == f"{NODE} --volumes-from immich-ml-hailo -e HAILORT_DIR={packages} {same}"


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


def test_the_verdict_on_the_owners_own_file_gets_into_the_image(image: None, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(face_recognizer="w600k_r50")
    run = f"{NODE} {MOUNT.replace(':ro', '')} -e FACE_RECOGNIZER=w600k_r50 {IMAGE}"
    told = commands.in_its_place(settings, ())
    assert told.endswith(f"docker stop -t 30 immich-ml-hailo; {run}; ./setup.sh, in this project's folder")
    monkeypatch.setattr(remedies, "mounted", lambda: True)
    told = commands.in_its_place(settings, ())
    assert f"--volumes-from immich-ml-hailo -e FACE_RECOGNIZER=w600k_r50 {IMAGE}; docker start" in told


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
