"""Immich's own face networks, `buffalo_l`, with small files in the place of the published ones."""

from dataclasses import replace
from pathlib import Path

import pytest
from simulated_card import DETECTOR, EMBEDDER

from ml_target.catalogue import needs
from ml_target.catalogue.networks import BUFFALO_DETECTOR, BUFFALO_RECOGNIZER, NETWORKS

DETECTOR_FILE, RECOGNIZER_FILE = (network.onnx[0].name for network in (BUFFALO_DETECTOR, BUFFALO_RECOGNIZER))


def take_any_file(patch: pytest.MonkeyPatch) -> None:
    """The published files are known by size and checksum; under this patch the catalogue knows neither."""
    of = {
        network.name: replace(network, onnx=(replace(network.onnx[0], size=None, sha256=None),))
        for network in (BUFFALO_DETECTOR, BUFFALO_RECOGNIZER)
    }
    patch.setattr(needs, "NETWORKS", [of.get(network.name, network) for network in NETWORKS])


def put_files(folder: Path, small_face_models: Path) -> None:
    """Both files for the processor."""
    (folder / DETECTOR_FILE).symlink_to(small_face_models / DETECTOR)
    (folder / RECOGNIZER_FILE).symlink_to(small_face_models / EMBEDDER)
