"""Which tasks the worker could serve with the model files that are there, and what is wrong with those files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ml_target.catalogue.needs import EngineName, Need, needs
from ml_target.catalogue.networks import CLIP_BACKENDS, NETWORKS, STAND_IN_EMBEDDER
from ml_target.catalogue.types import Chip, ModelFile
from ml_target.config import PROJECT, Settings
from ml_target.diagnostics.memory import memory_check
from ml_target.engines.onnx import OnnxEngine
from ml_target.errors import ModelError, SettingsError
from ml_target.hailo_host import Finding
from ml_target.hef_fit import check_fit
from ml_target.remedies import fetch, folder_words
from ml_target.store import Store
from ml_target.store.command import open_store

CHIPS = ("hailo8", "hailo8l")


@dataclass(slots=True)
class _Task:
    """What was found of one task's files."""

    there: list[str] = field(default_factory=list)
    missing: list[ModelFile] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def task_findings(settings: Settings, engine: EngineName, chip: Chip | None, root: Path) -> Iterator[Finding]:
    """The folder, then a line for each task: on, or off with the remedy; then what runs them. Never raises.

    `chip`: of the card, None where it did not say.
    """
    try:
        store = open_store(settings)
    except SettingsError as error:
        yield Finding(False, "setting", str(error).rstrip("."))
        return
    wanted = needs(settings, engine, chip or "hailo8")
    yield _folder(settings)
    tasks: dict[str, _Task] = {}
    weights = 0
    for need in wanted:
        weights += _look(store, need, chip, tasks.setdefault(_service(need), _Task()))
    for label, task in tasks.items():
        yield _told(label, task, engine, chip, store)
        yield from (Finding(None, label, warning) for warning in task.warnings)
    if any(need.engine == "cpu" for need in wanted):
        yield _processor()
    if weights:
        yield memory_check(weights, root)


def _service(need: Need) -> str:
    """What the worker's log and its /status call the task: of CLIP's two, either may be on without the other."""
    kind, _, backend = need.label.partition(" ")
    if kind != "clip":
        return {"faces": "facial-recognition"}.get(kind, kind)
    visual = CLIP_BACKENDS[backend].visual
    stage = "visual" if need.files[0] in (*visual.onnx, *visual.hef.values()) else "textual"
    return f"clip.{stage} ({backend})"


def _folder(settings: Settings) -> Finding:
    folder = settings.models_dir
    if not os.access(folder, os.R_OK | os.X_OK) and os.path.lexists(folder):
        remedy = "Give this user the right to (chmod or chown on the host), or set MODELS_DIR to another folder"
        return Finding(False, "models", f"{folder} cannot be looked into", remedy)
    if folder.is_dir():
        return Finding(True, "models", f"{folder}")
    remedy = "Make it, or set MODELS_DIR to the folder that has them"
    spare = PROJECT / "models"
    if folder != spare and spare.is_dir():
        return Finding(None, "models", f"{folder} is not there; {spare} is read in its place", remedy)
    return Finding(False, "models", f"{folder} is not there", remedy)


def _look(store: Store, need: Need, chip: Chip | None, task: _Task) -> int:
    """Adds what is found of this need's file to the task; bytes of weights for the card."""
    try:
        file, path = next(((f, p) for f in need.files if (p := store.find(f)) is not None), (need.files[0], None))
        if path is None:
            if not need.optional:
                task.missing.append(file)
            return 0
        if need.engine in CHIPS:
            network = next(each for each in NETWORKS if file in each.hef.values())
            task.warnings += check_fit(path, network, chip).warnings
        else:
            store.check(file, path)
            task.warnings += [f"{path.name} is a {file.note}"] if file in STAND_IN_EMBEDDER.onnx else []
    except ModelError as error:
        task.problems.append(str(error).rstrip("."))
        return 0
    task.there.append(path.name)
    return path.stat().st_size if need.engine in CHIPS else 0


def _told(label: str, task: _Task, engine: EngineName, chip: Chip | None, store: Store) -> Finding:
    if task.problems:
        return Finding(False, label, f"off: {'; '.join(task.problems)}")
    if task.missing:
        names = ", ".join(file.name for file in task.missing)
        detail = f"off: {names} {'is' if len(task.missing) == 1 else 'are'} not there"
        unpublished = next((file for file in task.missing if not file.sources), None)
        if unpublished is not None:
            return Finding(False, label, detail, store.remedy(unpublished).rstrip("."))
        arguments = ("--engine", engine, *(("--chip", chip or "hailo8") if engine == "hailo" else ()))
        remedy = f"{fetch(*arguments)}, or put them into {folder_words(store.folder)}"
        return Finding(False, label, detail, remedy)
    return Finding(True, label, f"on: {', '.join(task.there)}")


def _processor() -> Finding:
    try:
        OnnxEngine(threads=1)
    except ModelError as error:
        return Finding(False, "ONNX Runtime", str(error).rstrip("."))
    return Finding(True, "ONNX Runtime", "it can be loaded")
