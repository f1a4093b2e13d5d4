"""Finds tensors in checkpoints: safetensors, and PyTorch's zip format.

Our own code, as `safetensors` wants the whole file on disk, and PyTorch alone is half a gigabyte.
A PyTorch checkpoint contains a pickle, which is a program. Here it can only use names from a short list, each of which
stands for an inert record; anything else is refused.
"""

import io
import json
import math
import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ml_target.transfer.partial import Readable, expect, open_archive, opened, pieces
from ml_target.transfer.web import SourceError

FLOATS = {"F32": 4, "F16": 2, "BF16": 2}
"""Supported number types -> bytes per number, little-endian."""
LENGTH_BYTES = 8
MAX_HEADER = 100_000_000
TORCH_BEGINNINGS = (b"PK\x03\x04", b"\x80\x02")
LEGACY_MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")
MAX_PICKLE = 64 << 20
KINDS = {"FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16"}
AGAIN = "get it again"
OTHER_STORAGES = ("Double", "Long", "Int", "Short", "Char", "Byte", "Bool")


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor inside a checkpoint. `blocks` reads its bytes, row by row."""

    name: str
    kind: str
    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[bytes]]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * FLOATS[self.kind]


class Checkpoint(Protocol):
    """A file with named tensors."""

    names: frozenset[str]

    def tensor(self, name: str) -> StoredTensor: ...


def open_checkpoint(file: Readable) -> Checkpoint:
    """The checkpoint in `file`, of either format. Raises SourceError."""
    beginning = file.read(4)
    return TorchFile(file) if beginning.startswith(TORCH_BEGINNINGS) else SafetensorsFile(file)


class SafetensorsFile:
    """The float tensors of a safetensors checkpoint. Raises SourceError for any other file."""

    def __init__(self, file: Readable) -> None:
        whole = file.seek(0, io.SEEK_END)
        file.seek(0)
        size = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if not 0 < size <= min(MAX_HEADER, whole - LENGTH_BYTES):
            raise SourceError("this is not a safetensors file: its header does not fit into it", AGAIN)
        try:
            header = json.loads(file.read(size))
            self._tensors = {
                name: _tensor(file, name, entry, LENGTH_BYTES + size, whole)
                for name, entry in header.items()
                if name != "__metadata__" and entry["dtype"] in FLOATS
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(f"this is not a safetensors file, or it is damaged ({error})", AGAIN) from error
        self.names = frozenset(self._tensors)

    def tensor(self, name: str) -> StoredTensor:
        """Where the tensor of that name lies."""
        return self._tensors[name]


def _tensor(file: Readable, name: str, entry: dict[str, object], base: int, file_size: int) -> StoredTensor:
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (isinstance(shape, list) and isinstance(offsets, list) and isinstance(dtype, str)):
        raise ValueError(f"entry of {name}")
    start, end = (base + int(offset) for offset in offsets)

    def blocks() -> Iterator[bytes]:
        expect(file, start, end - start)
        file.seek(start)
        return pieces(file, end - start)

    tensor = StoredTensor(name, dtype, tuple(int(n) for n in shape), blocks)
    if start < base or end - start != tensor.nbytes or end > file_size:
        raise ValueError(f"{name} reaches beyond the file, or its length does not fit its shape")
    return tensor


class _Kind(NamedTuple):
    """A storage type by name; `kind` "" for unsupported numbers."""

    kind: str


class _Storage(NamedTuple):
    kind: str
    key: str


class _View(NamedTuple):
    """A tensor as the pickle describes it. Nothing in it is trusted until `TorchFile.tensor` has checked it."""

    storage: Any
    offset: Any
    shape: Any
    stride: Any


class _Table(dict[Any, Any]):
    """Stands for an ordered dict; attributes that the pickle sets on it are dropped."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None: ...


class _Maker:
    """What the pickle gets in place of a function or type: it makes one sort of inert record."""

    __slots__ = ("__sort",)

    def __init__(self, sort: str) -> None:
        self.__sort = sort

    def __call__(self, *given: Any) -> Any:
        if self.__sort == "table":
            return _Table()
        if self.__sort == "parameter" and given:
            return given[0]
        if self.__sort == "tensor" and len(given) >= 4:
            return _View(*given[:4])
        raise pickle.UnpicklingError("a tensor is described in an unknown way")

    def __setstate__(self, state: object) -> None: ...


def _named() -> dict[tuple[str, str], Any]:
    names: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): _Maker("table"),
        ("torch._utils", "_rebuild_tensor_v2"): _Maker("tensor"),
        ("torch._utils", "_rebuild_parameter"): _Maker("parameter"),
    }
    names.update({("torch", name): _Kind(kind) for name, kind in KINDS.items()})
    names.update({("torch", f"{name}Storage"): _Kind("") for name in OTHER_STORAGES})
    return names


class _InertUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._names = _named()

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return self._names[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it wants to use {module}.{name}") from None

    def persistent_load(self, pid: Any) -> Any:
        match pid:
            case ("storage", _Kind(kind=kind), str(key), *_):
                return _Storage(kind, key)
        raise pickle.UnpicklingError("a storage is described in an unknown way")


class TorchFile:
    """The float32, float16 and bfloat16 tensors of a checkpoint, at the top level or one below.

    Raises SourceError: old format, a pickle that wants more than tensors, damage.
    """

    def __init__(self, file: Readable) -> None:
        file.seek(0)
        if file.read(len(LEGACY_MAGIC)) == LEGACY_MAGIC:
            raise SourceError(
                "the checkpoint is in PyTorch's old format (before 1.6), which is one single program and is not read",
                "save it again with a current PyTorch, or as safetensors",
            )
        self._file = file
        self._archive = open_archive(file)
        self._listing = {info.filename: info for info in self._archive.infolist()}
        pickles = [name for name in self._listing if name.rpartition("/")[2] == "data.pkl"]
        if not pickles:
            raise SourceError("the archive is not a PyTorch checkpoint: it has no data.pkl")
        self._root = pickles[0].removesuffix("data.pkl")
        order = self._listing.get(f"{self._root}byteorder")
        if order and self._read(order) != b"little":
            raise SourceError(
                "the checkpoint is from a big-endian machine, which is not read", "save it as safetensors"
            )
        content = self._listing[pickles[0]]
        if content.file_size > MAX_PICKLE:
            raise SourceError(
                f"the checkpoint's data.pkl has {content.file_size:,} bytes, too many for a list of tensors"
            )
        self._views = _views(_unpickled(self._read(content)))
        self.names = frozenset(self._views)

    def tensor(self, name: str) -> StoredTensor:
        """Where the tensor of that name lies. Raises SourceError when it is not stored row by row."""
        view = self._views[name]
        storage, shape = view.storage, view.shape
        info = self._listing.get(f"{self._root}data/{storage.key}")
        sizes = (view.offset, *shape) if isinstance(shape, tuple) else (None,)
        if info is None or not all(isinstance(n, int) and n >= 0 for n in sizes):
            raise SourceError(f"{name} is described in an unknown way; the checkpoint is damaged", AGAIN)
        if not _row_by_row(shape, view.stride):
            raise SourceError(
                f"{name} is not stored row by row, which is not read", "save the checkpoint as safetensors"
            )
        offset = view.offset * FLOATS[storage.kind]

        def blocks() -> Iterator[bytes]:
            with opened(self._archive, self._file, info, name, "checkpoint") as member:
                for _ in pieces(member, offset):
                    pass
                yield from pieces(member, tensor.nbytes)

        tensor = StoredTensor(name, storage.kind, shape, blocks)
        if info.compress_type != zipfile.ZIP_STORED or offset + tensor.nbytes > info.file_size:
            raise SourceError(f"{name} is packed, or reaches beyond its storage; the checkpoint is damaged", AGAIN)
        return tensor

    def _read(self, info: zipfile.ZipInfo) -> bytes:
        with opened(self._archive, self._file, info) as member:
            return member.read(info.file_size)


def _unpickled(data: bytes) -> Any:
    try:
        return _InertUnpickler(data).load()
    except Exception as error:  # a pickle can fail in any way it likes
        raise SourceError(
            f"the checkpoint is refused: {error}. Only lists of tensors are read, nothing of it was run",
            "save it as safetensors if you trust it",
        ) from error


def _views(content: Any) -> dict[str, _View]:
    """Float tensors at the top level, or in the tables one level below (`state_dict`, `model`)."""
    tables = [content, *content.values()] if isinstance(content, dict) else []
    views: dict[str, _View] = {}
    for table in tables:
        for name, view in table.items() if isinstance(table, dict) else ():
            if isinstance(name, str) and isinstance(view, _View) and isinstance(view.storage, _Storage):
                views.setdefault(name, view)
    return {name: view for name, view in views.items() if view.storage.kind}


def _row_by_row(shape: tuple[int, ...], stride: Any) -> bool:
    if not isinstance(stride, tuple) or len(stride) != len(shape):
        return False
    return all(n == 1 or stride[i] == math.prod(shape[i + 1 :]) for i, n in enumerate(shape))
