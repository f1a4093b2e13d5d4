"""Text weights: cuts the few tensors that are needed out of a large checkpoint, and loads them later.

Our own code, as every library fetches the rest of the checkpoint too.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from ml_target.catalogue.types import CheckpointCut
from ml_target.remedies import damaged
from ml_target.store.weights.checkpoints import AGAIN, FLOATS, Checkpoint, StoredTensor, open_checkpoint
from ml_target.tensors import Array
from ml_target.transfer.download import filling, make_room, writing
from ml_target.transfer.partial import Readable
from ml_target.transfer.progress import Transfer
from ml_target.transfer.web import SourceError

TRANSPOSED = "T:"


def cut(file: Readable, plan: CheckpointCut, npz: Path, mapped: Mapping[str, Path], transfer: Transfer) -> None:
    """Writes the planned arrays to `npz`, those in `mapped` each to a .npy file of its own.

    Raises SourceError for a checkpoint that lacks them, FetchError for faults of the disk.
    """
    checkpoint = open_checkpoint(file)
    chosen = {array: _chosen(checkpoint, array, names) for array, names in plan.tensors.items()}
    make_room(npz.parent, sum(math.prod(tensor.shape) for tensor, _ in chosen.values()) * np.dtype(plan.dtype).itemsize)
    transfer.expect(sum(tensor.nbytes for tensor, _ in chosen.values()), 0)
    arrays: dict[str, Array] = {}
    for array, (tensor, transposed) in chosen.items():
        if array in mapped and not transposed:
            _stream(tensor, plan.dtype, mapped[array], transfer)
            continue
        values = _whole(tensor, plan.dtype)
        transfer.advance(tensor.nbytes)
        arrays[array] = np.ascontiguousarray(values.T) if transposed else values
    for array in mapped.keys() & arrays.keys():
        with writing(npz.parent):
            np.save(mapped[array], arrays.pop(array), allow_pickle=False)
    with filling(npz) as out, writing(npz.parent):
        cast(Any, np.savez)(out, **arrays)  # the stubs mistake array names for options


def _chosen(checkpoint: Checkpoint, array: str, names: tuple[str, ...]) -> tuple[StoredTensor, bool]:
    """The first of `names` that the checkpoint has, and whether to transpose it."""
    for name in names:
        plain = name.removeprefix(TRANSPOSED)
        if plain in checkpoint.names:
            return checkpoint.tensor(plain), name != plain
    raise SourceError(f"the checkpoint has no tensor for {array} (looked for {', '.join(names)})")


def _rows(tensor: StoredTensor, dtype: str) -> Iterator[Array]:
    """The tensor as flat runs of `dtype` (float16, float32), without ever holding all of it.

    Raises SourceError for damage, and for a number that does not fit `dtype`.
    """
    width, left = FLOATS[tensor.kind], b""
    for block in tensor.blocks():
        block = left + block
        whole = len(block) - len(block) % width
        left = block[whole:]
        yield _converted(tensor, block[:whole], dtype)


def _whole(tensor: StoredTensor, dtype: str) -> Array:
    """All of it in its shape. Raises SourceError as `_rows` does."""
    parts = list(_rows(tensor, dtype))
    return np.concatenate(parts).reshape(tensor.shape) if parts else np.zeros(tensor.shape, dtype)


def _converted(tensor: StoredTensor, raw: bytes, dtype: str) -> Array:
    values: Array
    if tensor.kind == "BF16":
        values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(raw, "<f4" if tensor.kind == "F32" else "<f2")
    if not np.isfinite(values).all():
        raise SourceError(f"{tensor.name} holds numbers that are not finite; the checkpoint is damaged", AGAIN)
    if np.abs(values).max(initial=0) > np.finfo(dtype).max:
        raise SourceError(f"{tensor.name} holds numbers that do not fit {dtype}")
    return values.astype(dtype)


def _stream(tensor: StoredTensor, dtype: str, path: Path, transfer: Transfer) -> None:
    with filling(path) as out:
        with writing(path.parent):
            _write_header(out, tensor.shape, dtype)
        for values in _rows(tensor, dtype):
            with writing(path.parent):
                out.write(values.tobytes())
            transfer.advance(values.size * FLOATS[tensor.kind])


def _write_header(out: BinaryIO, shape: tuple[int, ...], dtype: str) -> None:
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    write: Callable[[BinaryIO, dict[str, Any]], None] = np.lib.format.write_array_header_1_0
    write(out, header)


def load_text_weights(path: Path) -> Mapping[str, Array]:
    """The arrays of the .npz file, and those beside it as `<stem>.<array>.npy`, which are memory-mapped.

    Mapped arrays are read-only. Raises DamagedFileError when a file cannot be read.
    """
    beside = {npy.name[len(path.stem) + 1 : -len(".npy")]: npy for npy in path.parent.glob(f"{path.stem}.*.npy")}
    try:
        # Opened here: numpy leaves the file open when it is damaged.
        with path.open("rb") as file, cast(Any, np.load(file, allow_pickle=False)) as inside:
            arrays: dict[str, Array] = {name: inside[name] for name in inside.files}
        for name, npy in beside.items():
            if name not in arrays:
                arrays[name] = np.load(npy, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a damaged file can make numpy raise almost anything
        raise damaged(f"the text weights {path} cannot be loaded ({error})", path.name) from error
    return arrays
