"""What the tests of the store share: catalogue entries, small files of every kind, a server, a folder."""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import file_server
import numpy as np
import pytest
from file_server import FileServer
from onnx import TensorProto, helper

from ml_target.catalogue.types import Chip, ModelFile, Source
from ml_target.store import offers
from ml_target.tensors import Array

TEXT = b"first line\nsecond line\n"
RNG = np.random.default_rng(7)


def file(*sources: Source, name: str = "words.txt", content: bytes | None = TEXT, **more: object) -> ModelFile:
    """A catalogue entry; with a checksum when `content` is given."""
    known = {} if content is None else {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return ModelFile(name=name, sources=sources, licence="MIT", **{**known, **more})  # type: ignore[arg-type]


def hef_file(chip: Chip, *sources: Source) -> ModelFile:
    return file(*sources, name="net.hef", content=None, chip=chip, size=4711)


def network() -> bytes:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def npz(**arrays: Array) -> bytes:
    out = io.BytesIO()
    cast(Any, np.savez)(out, **arrays)
    return out.getvalue()


def zipped(member: str, content: bytes, padding: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("padding", RNG.bytes(padding))
        archive.writestr(f"some/folder/{member}", content)
    return out.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server that also stands for the Model Zoo."""
    with file_server.serving() as state:
        monkeypatch.setattr(offers, "ZOO", state.url)
        yield state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "models"
    made.mkdir()
    return made


@pytest.fixture
def sealed(folder: Path) -> Iterator[Path]:
    """The folder without any write permission."""
    folder.chmod(0o555)
    yield folder
    folder.chmod(0o755)
