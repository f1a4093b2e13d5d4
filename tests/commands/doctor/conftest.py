"""Hosts made of files, a HailoRT made of classes, and the doctor's command on them."""

import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import hef_builder as build
import numpy as np
import pytest
from hailo_sim.build import fingerprint
from standin_host import Host, Library

from ml_target.__main__ import Parser
from ml_target.catalogue.files import OCR_DICTIONARY
from ml_target.catalogue.needs import Need, needs
from ml_target.catalogue.networks import SCRFD_2_5G, STAND_IN_EMBEDDER
from ml_target.config import Settings, setting_names
from ml_target.diagnostics import doctor, tasks

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "root")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside, no library, a numpy that HailoRT takes."""
    monkeypatch.delenv("HAILORT_LOGGER_PATH", raising=False)
    (tmp_path / "models").mkdir()
    for name in (name for item in fields(Settings) for name in setting_names(item.name)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setattr("ml_target.store.command.PROJECT", tmp_path / "nowhere")
    monkeypatch.setitem(sys.modules, "hailo_platform", None)
    monkeypatch.setattr(np, "__version__", "1.26.4")
    monkeypatch.setattr("importlib.metadata.version", lambda name: _raise(PackageNotFoundError))


def _raise(error: type[Exception]) -> Any:
    raise error


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    return Library(monkeypatch)


@pytest.fixture
def run(host: Host, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command on this host: exit code, and output (or what went to standard error) with its columns closed up."""

    def ran(*arguments: str) -> tuple[int, str]:
        parser = Parser("doctor")
        doctor.add_arguments(parser)
        code = doctor.run(parser.parse(list(arguments)), host.root)
        told = capsys.readouterr()
        return code, re.sub(" +", " ", told.out or told.err)

    return ran


@pytest.fixture
def only_ocr(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is wanted but one file, which is there as it should be."""
    path = tmp_path / "models" / "ppocrv5_dict.txt"
    path.write_text("".join(f"{letter}\n" for letter in "abc"))
    dictionary = replace(OCR_DICTIONARY, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(tasks, "needs", lambda settings, engine, chip: [Need("ocr", "any", (dictionary,))])
    return path


@pytest.fixture
def only_embedder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing is wanted but the recogniser, for which the stand-in is there."""
    path = tmp_path / "models" / STAND_IN_EMBEDDER.onnx[0].name
    path.write_bytes(b"\x08\x07")
    monkeypatch.setattr(
        tasks, "needs", lambda *_: [Need("faces", "any", STAND_IN_EMBEDDER.onnx, service="facial-recognition")]
    )
    monkeypatch.setattr("ml_target.store.Store.check", lambda *_: "")
    return path


@pytest.fixture
def face_files(one_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Faces are all that is wanted of the card, and both files are there."""
    (one_file.parent / "scrfd_2.5g.hef").write_bytes(fingerprint(SCRFD_2_5G))
    monkeypatch.setenv("FACE_RECOGNIZER", "arcface_mobilefacenet")
    monkeypatch.setattr(tasks, "needs", lambda *chosen: [need for need in needs(*chosen) if need.label == "faces"])
    return one_file.parent


@pytest.fixture
def one_file(tmp_path: Path) -> Path:
    """A whole HEF that fits, for a recogniser that has to be asked for."""
    path = tmp_path / "models" / "arcface_mobilefacenet.hef"
    path.write_bytes(build.mobilefacenet())
    return path
