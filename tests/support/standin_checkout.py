"""The project's folder as its user has it before anything is built, and models for the simulated card."""

import shutil
from pathlib import Path

import numpy as np
from hailo_sim.build import fingerprint
from hailo_worker import models_folder
from project import PROJECT
from simulated_card import hef_path, write_face_files, write_text_files
from towers import substitute_pieces

from ml_target.catalogue import files
from ml_target.catalogue.networks import SIGLIP
from ml_target.catalogue.types import CheckpointCut

KEPT_OUT = {".git", ".venv", "build", "models", "hailo-rt-4", "__pycache__", ".cache"}
KEPT_OUT |= {".mypy_cache", ".ruff_cache", ".pytest_cache", "immich_ml_hailo.egg-info"}


def checkout(to: Path) -> Path:
    """A clone made under umask 077: nobody but its owner can read it."""
    shutil.copytree(PROJECT, to, ignore=lambda _, names: KEPT_OUT & set(names), symlinks=True)
    for folder in ("models", "hailo-rt-4"):
        (to / folder).mkdir()
        shutil.copy(PROJECT / folder / "README.md", to / folder)
    for path in (to, *to.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)
    return to


def write_models(folder: Path, wheel_models: Path, made: Path, face_models: Path | None, photos: Path | None) -> None:
    """Networks for card and processor under the catalogue's names.

    Those that can be had are real, so that their answers are right: text, and faces where the
    networks are here. Smart search answers numbers that depend on its input alone. `made`: an empty folder.
    """
    for file in models_folder(wheel_models, made).iterdir():
        if file.suffix != ".hef" or file.name.startswith("tinyclip"):
            shutil.copy(file, folder)
    (folder / files.OCR_DICTIONARY.name).unlink()
    write_text_files(folder, wheel_models)
    if face_models is not None and photos is not None:
        write_face_files(folder, face_models, photos)
    for file in wheel_models.glob("*.onnx"):
        shutil.copy(file, folder)
    _write_siglip(folder)
    for path in folder.iterdir():
        if path.is_symlink():
            file = path.resolve()
            path.unlink()
            shutil.copy(file, path)
        path.chmod(0o600)


def _write_siglip(folder: Path) -> None:
    """The second backend, switched to by CLIP_BACKEND and a restart."""
    for network in (SIGLIP.visual, SIGLIP.textual):
        hef_path(folder, network).write_bytes(fingerprint(network))
    substitute_pieces(folder).replace(folder / files.SIGLIP_VOCABULARY.name)
    (source,) = files.SIGLIP_TEXT_WEIGHTS.sources
    assert isinstance(source, CheckpointCut)
    shapes = {"tokens": (2000, 768), "positions": (64, 768), "head_weight": (768, 768)}
    rng = np.random.default_rng(4)
    arrays = {n: (rng.random(shapes.get(n, (768,)), np.float32) - 0.5).astype(np.float16) for n in source.tensors}
    np.savez(folder / files.SIGLIP_TEXT_WEIGHTS.name, **arrays)  # type: ignore[arg-type]
