"""Immich's own face networks, `buffalo_l`, with small files in the place of the published ones."""

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from hailo_sim.build import from_onnx
from hailo_sim.contracts import group_of
from selfcheck_models import Change
from simulated_card import DETECTOR, EMBEDDER, hef_path

from ml_target.catalogue import needs
from ml_target.catalogue.networks import ARCFACE_R50, BUFFALO_DETECTOR, BUFFALO_RECOGNIZER, NETWORKS, W600K_R50
from ml_target.catalogue.types import Network
from ml_target.diagnostics import tasks
from ml_target.diagnostics.checks.samples import FACE_LANDMARKS, Samples, lights
from ml_target.tasks.faces.align import align

DETECTOR_FILE, RECOGNIZER_FILE = (network.onnx[0].name for network in (BUFFALO_DETECTOR, BUFFALO_RECOGNIZER))


def take_any_file(patch: pytest.MonkeyPatch) -> None:
    """The published files are known by size and checksum; under this patch the catalogue knows neither."""
    of = {
        network.name: replace(network, onnx=(replace(network.onnx[0], size=None, sha256=None),))
        for network in (BUFFALO_DETECTOR, BUFFALO_RECOGNIZER, W600K_R50)
    }
    for module in (needs, tasks):
        patch.setattr(module, "NETWORKS", [of.get(network.name, network) for network in NETWORKS])


def put_files(folder: Path, small_face_models: Path) -> None:
    """Both files for the processor."""
    (folder / DETECTOR_FILE).symlink_to(small_face_models / DETECTOR)
    (folder / RECOGNIZER_FILE).symlink_to(small_face_models / EMBEDDER)


def write_own_hef(
    folder: Path, small_face_models: Path, change: Change | None = None, *, called: Network = ARCFACE_R50
) -> Path:
    """`w600k_r50.hef` as its owner compiles it, from the file that `put_files` puts there (`change`d before if wanted).

    `called`: the network whose compiler script was used, after which the file calls itself.
    """
    source = small_face_models / EMBEDDER
    if change is not None:
        model = onnx.load(str(source))
        change(model)
        source = folder.with_name("changed.onnx")
        onnx.save(model, str(source))
    crops = list(lights(align(Samples.load().board, FACE_LANDMARKS)))
    path = hef_path(folder, W600K_R50)
    path.unlink(missing_ok=True)
    path.write_bytes(from_onnx(W600K_R50, source, crops, group=group_of(called)))
    return path
