"""Which tasks the worker could serve with the model files that are there, and what is wrong with those files."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ml_target.catalogue.needs import EngineName, Need, needs, settled
from ml_target.catalogue.networks import NETWORKS, STAND_IN_EMBEDDER
from ml_target.catalogue.types import CHIPS, DEFAULT_CHIP, Chip, ModelFile
from ml_target.config import PROJECT, Settings
from ml_target.engines.hailo.fit import check_fit
from ml_target.engines.select import REFERENCE, processor
from ml_target.errors import DamagedFileError, ModelError, SettingsError
from ml_target.remedies import fetch, folder_words
from ml_target.runtime.verdicts import Parities
from ml_target.store import Store, all_damaged
from ml_target.store.command import open_store
from ml_target.system.cards import fact
from ml_target.system.cgroups import memory_left
from ml_target.system.finding import Finding

GIB = 1 << 30


@dataclass(slots=True)
class _Task:
    """The state of one task's files."""

    there: list[str] = field(default_factory=list)
    missing: list[ModelFile] = field(default_factory=list)
    damaged: list[DamagedFileError] = field(default_factory=list)
    unfit: list[ModelError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def task_findings(
    settings: Settings, engine: EngineName, chip: Chip | None, root: Path, library: str = ""
) -> Iterator[Finding]:
    """The folder, then a line for each task: on, or off with the remedy; then what runs them. Never raises.

    `chip`: the card's; None if it is unknown. `library`: HailoRT's version; "" if it is unknown.
    """
    try:
        store = open_store(settings)
    except SettingsError as error:
        yield Finding(False, "setting", error.reason, error.remedy)
        return
    yield _folder(settings)
    try:
        wanted = needs(settled(settings, engine, chip or DEFAULT_CHIP, store.find), engine, chip or DEFAULT_CHIP)
    except SettingsError as error:
        yield Finding(False, "setting", error.reason, error.remedy)
        return
    tasks: dict[str, _Task] = {}
    weights = 0
    for need in wanted:
        weights += _look(store, need, chip, library, tasks.setdefault(need.service or need.label, _Task()))
    for label, task in tasks.items():
        yield _task_finding(label, task, engine, chip, store)
        yield from (Finding(None, label, warning) for warning in task.warnings)
    if any(need.engine == REFERENCE for need in wanted):
        yield _processor(settings)
    if weights:
        yield memory_check(weights, root)


def _folder(settings: Settings) -> Finding:
    folder = settings.models_dir
    if not os.access(folder, os.R_OK | os.X_OK) and os.path.lexists(folder):
        remedy = "Give this user the right to (chmod or chown on the host), or set MODELS_DIR to another folder"
        return Finding(False, "models", f"{folder} cannot be read", remedy)
    if folder.is_dir():
        return Finding(True, "models", f"{folder}")
    remedy = "Make it, or set MODELS_DIR to the folder that has them"
    spare = PROJECT / "models"
    if folder != spare and spare.is_dir():
        return Finding(None, "models", f"{folder} is not there; {spare} is read in its place", remedy)
    return Finding(False, "models", f"{folder} is not there", remedy)


def _look(store: Store, need: Need, chip: Chip | None, library: str, task: _Task) -> int:
    """Checks this need's files and adds the result to `task`; like the worker, it takes the first sound one.

    Returns the bytes of weights for the card.
    """
    damages: list[DamagedFileError] = []
    try:
        for file, path in [(each, copy) for each in need.files for copy in store.copies(each)]:
            try:
                warnings = _inspect(store, need, file, path, chip, library)
            except DamagedFileError as damage:
                damages.append(damage)
                continue
            task.there.append(path.name)
            task.warnings += warnings
            task.warnings += [f"{path.name} serves in its place, for {d.reason}. {d.remedy}" for d in damages]
            return path.stat().st_size if need.engine in CHIPS else 0
    except ModelError as error:
        task.unfit.append(error)
        return 0
    if need.optional:
        task.warnings += [f"{damage.reason}. {damage.remedy}" for damage in damages]
    elif damages:
        task.damaged.append(all_damaged(damages))
    else:
        task.missing.append(need.files[0])
    return 0


def _inspect(store: Store, need: Need, file: ModelFile, path: Path, chip: Chip | None, library: str) -> tuple[str, ...]:
    """Warnings about a sound file. Raises ModelError."""
    sha256 = store.check(file, path)
    if need.engine in CHIPS:
        network = next(each for each in NETWORKS if file in each.hef.values())
        warnings = check_fit(path, network, chip, library).warnings
        Parities(store.target).require(network, path, sha256)
        return warnings
    return (f"{path.name} is a {file.note}",) if file in STAND_IN_EMBEDDER.onnx else ()


def _task_finding(label: str, task: _Task, engine: EngineName, chip: Chip | None, store: Store) -> Finding:
    if task.unfit:
        return Finding(False, label, f"the worker does not start: {_reasons(task.unfit)}", _remedies(task.unfit))
    if task.damaged:
        return Finding(False, label, f"off: {_reasons(task.damaged)}", _remedies(task.damaged))
    if task.missing:
        names = ", ".join(file.name for file in task.missing)
        detail = f"off: {names} {'is' if len(task.missing) == 1 else 'are'} not there"
        unpublished = next((file for file in task.missing if not file.sources), None)
        if unpublished is not None:
            nobody = store.missing(unpublished)
            return Finding(False, label, detail, f"{nobody.reason}: {nobody.remedy}")
        arguments = ("--engine", engine, *(("--chip", chip or DEFAULT_CHIP) if engine != REFERENCE else ()))
        remedy = f"{fetch(*arguments)}, or put them into {folder_words(store.folder)}"
        return Finding(False, label, detail, remedy)
    return Finding(True, label, f"on: {', '.join(task.there)}")


def _reasons(errors: Sequence[ModelError]) -> str:
    return "; ".join(error.reason for error in errors)


def _remedies(errors: Sequence[ModelError]) -> str:
    return "; ".join(dict.fromkeys(filter(None, (error.remedy for error in errors))))


def _processor(settings: Settings) -> Finding:
    try:
        processor(settings)
    except ModelError as error:
        return Finding(False, "ONNX Runtime", error.reason, error.remedy)
    return Finding(True, "ONNX Runtime", "it can be loaded")


def memory_check(needed: int, root: Path = Path("/")) -> Finding:
    """Whether the weights, `needed` bytes, fit into memory: HailoRT pins at least the size of each HEF on the host."""
    free = re.search(r"MemAvailable:\s+(\d+) kB", fact(root / "proc/meminfo"))
    left = memory_left(root)
    if free is None:
        detail = f"{needed / GIB:.2f} GiB are needed for weights; how much is free is unknown"
        return Finding(None, "memory", detail, looked=False)
    available = int(free.group(1)) * 1024
    bound = ""
    if left is not None and left < available:
        available, bound = int(left), " within the container's limit"
    detail = f"{needed / GIB:.2f} GiB for weights, {available / GIB:.1f} GiB free{bound}"
    if needed <= available:
        return Finding(True, "memory", detail)
    remedy = "Free memory or raise the container's limit; or load fewer models: CLIP_BACKEND with one name"
    return Finding(False, "memory", detail, remedy)
