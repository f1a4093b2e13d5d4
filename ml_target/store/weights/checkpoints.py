"""Cuts the few tensors that are needed out of a large checkpoint, reading little else of it."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

import numpy as np

from ml_target.catalogue.types import CheckpointCut
from ml_target.store.faults import SourceError, writing
from ml_target.store.fetch import make_room
from ml_target.store.progress import Transfer
from ml_target.store.ranges import PartialFile
from ml_target.store.weights.safetensors import SafetensorsFile
from ml_target.store.weights.tensorfile import FLOATS, StoredTensor
from ml_target.store.weights.torchfile import TorchFile
from ml_target.tensors import Array

TRANSPOSED = "T:"
TORCH_BEGINNINGS = (b"PK\x03\x04", b"\x80\x02")


class Checkpoint(Protocol):
    """A file with named tensors."""

    names: frozenset[str]

    def tensor(self, name: str) -> StoredTensor: ...


def open_checkpoint(file: PartialFile) -> Checkpoint:
    """The checkpoint in `file`, whatever its form. Raises SourceError."""
    beginning = file.read(4)
    return TorchFile(file) if beginning.startswith(TORCH_BEGINNINGS) else SafetensorsFile(file)


def cut(file: PartialFile, plan: CheckpointCut, npz: Path, mapped: Mapping[str, Path], transfer: Transfer) -> None:
    """Writes the planned arrays to `npz`, each of `mapped` to a .npy file of its own.

    Raises SourceError for a checkpoint that does not have them, FetchError for faults of the disk.
    """
    checkpoint = open_checkpoint(file)
    chosen = {array: _chosen(checkpoint, array, names) for array, names in plan.tensors.items()}
    make_room(npz.parent, sum(math.prod(tensor.shape) for tensor, _ in chosen.values()) * np.dtype(plan.dtype).itemsize)
    transfer.expect(sum(tensor.nbytes for tensor, _ in chosen.values()), 0)
    arrays: dict[str, Array] = {}
    for array, (tensor, transposed) in chosen.items():
        if array in mapped and not transposed:
            _stream(file, tensor, plan.dtype, mapped[array], transfer)
            continue
        values = tensor.read(file, plan.dtype)
        transfer.advance(tensor.nbytes)
        arrays[array] = np.ascontiguousarray(values.T) if transposed else values
    for array in mapped.keys() & arrays.keys():
        with writing(npz.parent):
            np.save(mapped[array], arrays.pop(array), allow_pickle=False)
    with writing(npz.parent), npz.open("wb") as out:
        cast(Any, np.savez)(out, **arrays)  # stubs take the names of the arrays for options


def _chosen(checkpoint: Checkpoint, array: str, names: tuple[str, ...]) -> tuple[StoredTensor, bool]:
    """The first of `names` that the checkpoint has, and whether it is to be transposed."""
    for name in names:
        plain = name.removeprefix(TRANSPOSED)
        if plain in checkpoint.names:
            return checkpoint.tensor(plain), name != plain
    raise SourceError(f"the checkpoint has no tensor for {array} (looked for {', '.join(names)})")


def _stream(file: PartialFile, tensor: StoredTensor, dtype: str, path: Path, transfer: Transfer) -> None:
    with writing(path.parent):
        out = path.open("wb")
    with out:
        _write_header(out, tensor.shape, dtype)
        for values in tensor.rows(file, dtype):
            with writing(path.parent):
                out.write(values.tobytes())
            transfer.advance(values.size * FLOATS[tensor.kind])


def _write_header(out: BinaryIO, shape: tuple[int, ...], dtype: str) -> None:
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    write: Callable[[BinaryIO, dict[str, Any]], None] = np.lib.format.write_array_header_1_0
    write(out, header)
