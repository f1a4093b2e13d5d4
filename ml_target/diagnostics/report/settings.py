"""What the report says about settings and model files: what is set, what of it is wrong, what is there."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ml_target.config import Settings, choose_engine, setting_names, setting_text
from ml_target.diagnostics.report.section import Section
from ml_target.diagnostics.settings import spelt_wrong
from ml_target.errors import SettingsError

RELATED = (
    "HAILO", "IMMICH", "MACHINE_LEARNING", "MODEL", "CLIP_", "FACE_", "SIGLIP", "OCR_", "CPU_", "HOST_", "MAX_",
    "OMP_", "OPENBLAS_", "MALLOC_", "LD_", "PYTHON", "HF_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_",
)  # fmt: skip
"""How variables begin that have a part in what the worker does, or that somebody thinks have."""

NOT_OURS = frozenset({"IMMICH_ML_IMAGE"})
ENDINGS = (".hef", ".onnx", ".npz", ".npy", ".txt", ".gz", ".model", ".json")
CHUNK = 1 << 22
SHORT_HASH = 16


@dataclass(frozen=True, slots=True)
class Environment:
    """Settings that can be used. `problems`: those that cannot, in words; `usable`: the environment without them."""

    settings: Settings
    problems: tuple[str, ...]
    usable: Mapping[str, str]

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Environment":
        """Never raises: every setting is read by itself, and a wrong one is left out."""
        usable, problems = dict(environment), []
        for item in fields(Settings):
            for name in setting_names(item.name):
                if name in usable and (problem := _problem({name: usable[name]})):
                    problems.append(problem)
                    del usable[name]
        try:
            return cls(Settings.from_environment(usable), tuple(problems), usable)
        except SettingsError as error:  # settings that contradict each other
            return cls(Settings(), (*problems, str(error)), usable)


def settings_section(read: Environment, environment: Mapping[str, str] = os.environ) -> Section:
    """The settings that are set, those that are wrong, other variables of the same kind, and the rest by default."""
    lines = []
    ours = {name: item.name for item in fields(Settings) for name in setting_names(item.name)}
    for name, attribute in ours.items():
        if name in environment:
            value = environment[name]
            taken = setting_text(read.settings, attribute)
            note = "WRONG" if name not in read.usable else "" if value.strip() == taken else f"taken as {taken}"
            lines.append(f"{name}={value}" + (f"    ({note})" if note else ""))
    lines = lines or ["no setting is set: all have their defaults"]
    lines += [f"wrong: {problem}" for problem in read.problems]
    count = len([name for name in ours if name in environment])
    others = sorted(n for n in environment if n.upper().startswith(RELATED) and n not in ours and n not in NOT_OURS)
    if others:
        lines += ["", "Other variables; the worker itself has no settings of these names:"]
        lines += [f"{name}={environment[name]}" for name in others]
    hints = spelt_wrong(environment)
    lines += hints
    wrong = [f"settings: {words}" for words in (*read.problems, *hints)]
    return Section(
        "Settings", "\n".join(lines), wrong, [] if wrong else [f"settings: {count} set, all taken"], most=4000
    )


def models_section(read: Environment) -> Section:
    """Every file that the settings ask for: there, whole, with size and hash; what is missing; what else lies there."""
    try:
        section = _stock(read.settings)
    except Exception as error:  # without numpy the store cannot be had; names, sizes and hashes can
        words = f"{type(error).__name__}: {error}"
        section = Section("Model files", f"The catalogue cannot be asked: {words}\n", [f"model files: {words}"])
        section.text += "\n".join(_plain(read.settings.models_dir, ()))
    section.most = 6000
    return section


def _problem(alone: Mapping[str, str]) -> str:
    try:
        Settings.from_environment(alone)
    except SettingsError as error:
        return str(error)
    return ""


def _stock(settings: Settings) -> Section:
    from ml_target.catalogue.needs import needs
    from ml_target.remedies import fetch
    from ml_target.store.command import open_store
    from ml_target.store.inventory import take_stock

    store = open_store(settings)
    engine = choose_engine(settings.engine)
    rows = {row.file.name: row for row in take_stock(store)}
    lines, missing, damaged, listed = [f"folder {settings.models_dir}, engine {engine}"], [], [], set[str]()
    for need in needs(settings, engine):
        there = [rows[f.name] for f in need.files if f.name in rows and rows[f.name].path]
        if not there:
            missing += [] if need.optional else [need.files[0].name]
            state = "not there (optional)" if need.optional else "MISSING"
            lines.append(f"{need.label:14}  {state:10}  {need.files[0].name}")
        for row in there[:1]:
            assert row.path is not None
            listed.add(row.path.name)
            damaged += [row.problem] if row.problem else []
            digest = row.sha256[:SHORT_HASH] or _hash(row.path)
            lines.append(f"{need.label:14}  {row.state:10}  {_size(row.path)}  {digest}  {row.path.name}")
    lines += [f"damaged: {problem}" for problem in damaged]
    lines += _plain(settings.models_dir, listed)
    wrong = [f"model files damaged: {problem}" for problem in damaged]
    if missing:
        wrong.append(f"{len(missing)} model files are missing, so their tasks are off. Fetch them: {fetch()}")
    return Section(
        "Model files", "\n".join(lines), wrong, [] if wrong else ["every model file that is asked for is there"]
    )


def _plain(folder: Path, listed: Iterable[str]) -> Iterator[str]:
    """What lies in the folder besides."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in ENDINGS and path.name not in set(listed))
    except OSError as error:
        yield f"{folder}: {error.strerror}"
        return
    if files:
        yield "besides:"
    for path in files:
        yield f"  {_size(path)}  {_hash(path)}  {path.name}"


def _size(path: Path) -> str:
    try:
        return f"{path.stat().st_size:>11}"
    except OSError as error:
        return f"{error.strerror}"


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        return f"{error.strerror}"
    return digest.hexdigest()[:SHORT_HASH]
