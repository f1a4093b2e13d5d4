"""Whether a file's content is what its name says, independent of any list of checksums.

Our own code is what the parsers leave out: web pages and LFS pointers in place of files, and clear messages.
"""

import gzip
import json
import mmap
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from ml_target.catalogue.types import CheckpointCut, ModelFile
from ml_target.errors import DamagedFileError
from ml_target.hef import header as hef
from ml_target.hef.protobuf import walk
from ml_target.remedies import damaged
from ml_target.transfer.content import BLOCK, wrong_content

ONNX_GRAPH = 7


def mapped_files(file: ModelFile) -> dict[str, str]:
    """Arrays stored beside the file because they are too large to be inside it, and the names of their files."""
    cuts = [source for source in file.sources if isinstance(source, CheckpointCut)]
    return {array: f"{Path(file.name).stem}.{array}.npy" for cut in cuts for array in cut.mapped}


def require_published(file: ModelFile, path: Path, sha256: str, known_as: str = "") -> None:
    """Raises DamagedFileError when the catalogue has another checksum for this file.

    `known_as`, here and below: what the error calls the file, by default its path.

    The size alone does not decide: only HEFs have a size and no checksum there. They are recompiled
    under the same name, and carry a checksum of their own.
    """
    if file.sha256 is not None and sha256 != file.sha256:
        size = path.stat().st_size
        lengths = f" ({size:,} bytes instead of {file.size:,})" if file.size not in (None, size) else ""
        name = known_as or path
        raise damaged(f"{name} is not the published {file.name}: its SHA-256 is {sha256}, not {file.sha256}{lengths}")


def require_content(path: Path, known_as: str = "") -> None:
    """Raises DamagedFileError for an empty file, a web page and an LFS pointer. Quick."""
    with path.open("rb") as opened:
        head = opened.read(512)
    if not head:
        raise damaged(f"{known_as or path} is empty")
    if wrong := wrong_content(head):
        raise damaged(f"{known_as or path} holds {wrong.what}", first=wrong.first)


def require_sound(file: ModelFile, path: Path, known_as: str = "") -> None:
    """Checks the content of the file at `path`, by its type. Raises DamagedFileError that says what is wrong."""
    require_content(path, known_as)
    name, suffix = known_as or str(path), Path(file.name).suffix
    try:
        if suffix == ".hef":  # it carries a checksum of its own
            hef.verify(path, name)
        elif look := _LOOKS.get(suffix):
            look(file, path)
    except (DamagedFileError, MemoryError):
        raise
    except Exception as error:  # third-party parsers may raise anything, and name the file by its path
        reason = str(error).strip().partition("\n")[0].replace(str(path), name) or type(error).__name__
        raise damaged(f"{name} is damaged or not a {suffix} file: {reason}") from error


def require_chip(file: ModelFile, path: Path, known_as: str = "") -> None:
    """Raises ModelError for a HEF that the chip of `file` cannot run. Quick."""
    if file.chip is not None:
        hef.require_chip(hef.read_header(path, known_as), file.chip, known_as or path)


def _fields(path: Path) -> tuple[set[int], str]:
    """The field numbers of a protobuf file, or what is wrong with it. Reads only the start of each field."""
    with (
        path.open("rb") as opened,
        mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        memoryview(mapped) as view,
    ):
        # Neither the fields nor an error that refers to them may outlive the mapping.
        try:
            return {number for number, _ in walk(view)}, ""
        except ValueError as error:
            return set(), str(error)


def _onnx(file: ModelFile, path: Path) -> None:
    """Checks that every field ends where it should; then opens it with ONNX Runtime, if that is installed."""
    numbers, problem = _fields(path)
    if problem or ONNX_GRAPH not in numbers:
        raise ValueError(problem or "it holds no graph")
    try:
        import onnxruntime
    except ImportError:
        return
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _npz(file: ModelFile, path: Path) -> None:
    """Checks that it has the arrays that the catalogue names, as finite floats, inside it or mapped beside it."""
    wanted = {array for source in file.sources if isinstance(source, CheckpointCut) for array in source.tensors}
    mapped = mapped_files(file)
    if not zipfile.is_zipfile(path):  # NumPy would speak of pickles, and of loading them unsafely
        raise ValueError("it is no archive, or was cut short")
    with path.open("rb") as opened, cast(Any, np.load(opened, allow_pickle=False)) as arrays:
        inside = set(arrays.files)
        for array in wanted & inside:
            if arrays[array].dtype.kind != "f" or not np.isfinite(arrays[array]).all():
                raise ValueError(f"{array} does not hold finite floating-point numbers")
    for array in sorted(wanted - inside):
        if array not in mapped:
            raise ValueError(f"it has no array {array}")
        beside = path.with_name(mapped[array])
        if not beside.exists():
            raise ValueError(f"it has no array {array}, nor is {beside.name} beside it")
        np.load(beside, mmap_mode="r", allow_pickle=False)


def _json(file: ModelFile, path: Path) -> None:
    if not isinstance(json.loads(path.read_text(encoding="utf-8")), dict):
        raise ValueError("it holds no JSON object")


def _gz(file: ModelFile, path: Path) -> None:
    try:
        with gzip.open(path) as opened:
            while opened.read(BLOCK):
                pass
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"it does not unpack ({error})") from error


def _text(file: ModelFile, path: Path) -> None:
    path.read_text(encoding="utf-8")


def _sentencepiece(file: ModelFile, path: Path) -> None:
    import sentencepiece

    sentencepiece.SentencePieceProcessor(model_file=str(path))


_LOOKS: dict[str, Callable[[ModelFile, Path], None]] = {
    ".onnx": _onnx,
    ".npz": _npz,
    ".json": _json,
    ".gz": _gz,
    ".txt": _text,
    ".model": _sentencepiece,
}
