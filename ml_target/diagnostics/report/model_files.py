"""What the report says about model files: what is there, what is missing, what is damaged."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ml_target.config import Settings, choose_engine
from ml_target.diagnostics.report.section import Section

ENDINGS = (".hef", ".onnx", ".npz", ".npy", ".txt", ".gz", ".model", ".json")
CHUNK = 1 << 22
SHORT_HASH = 16


def model_files(settings: Settings) -> Section:
    """Every file that the settings ask for, with state, size and hash; what is missing; other files in the folder."""
    try:
        section = _stock(settings)
    except Exception as error:  # without numpy the store does not work; names, sizes and hashes still do
        words = f"{type(error).__name__}: {error}"
        section = Section("Model files", f"The catalogue cannot be asked: {words}\n", [f"model files: {words}"])
        section.text += "\n".join(_plain(settings.models_dir, ()))
    section.most = 6000
    return section


def _stock(settings: Settings) -> Section:
    from ml_target.catalogue.needs import needs, settled
    from ml_target.catalogue.types import DEFAULT_CHIP
    from ml_target.remedies import fetch
    from ml_target.store.command import open_store
    from ml_target.store.inventory import take_stock

    store = open_store(settings)
    engine = choose_engine(settings.engine)
    rows = {row.file.name: row for row in take_stock(store)}
    lines, missing, damaged, listed = [f"folder {settings.models_dir}, engine {engine}"], [], [], set[str]()
    for need in needs(settled(settings, engine, DEFAULT_CHIP, store.find), engine):
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
    """The other files in the folder."""
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
