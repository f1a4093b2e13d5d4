"""Checkpoints written by hand: safetensors, and the zip of torch.save; and a plan to cut tensors out of them."""

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

from ml_target.catalogue.types import CheckpointCut
from ml_target.store.weights.text import cut, load_text_weights
from ml_target.tensors import Array
from ml_target.transfer.progress import Progress

RNG = np.random.default_rng(7)
TOKENS = RNG.standard_normal((50, 8)).astype(np.float32)
HEAD = RNG.standard_normal((8, 8)).astype(np.float32)
PLAN = CheckpointCut((), {"tokens": ("other.name", "model.tokens"), "head": ("T:model.head",)}, dtype="float32")


def bfloat16(values: Array) -> bytes:
    """The upper half of each float32: what rounds towards zero."""
    return bytes((values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes())


def raw(values: Array, kind: str) -> bytes:
    return bfloat16(values) if kind == "BF16" else values.astype({"F32": "<f4", "F16": "<f2"}[kind]).tobytes()


def safetensors(tensors: dict[str, tuple[str, Array]]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, (kind, values) in tensors.items():
        data = raw(values, kind) if kind in ("F32", "F16", "BF16") else values.tobytes()
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


class Named:
    """Pickles as a name of some module, which need not be installed."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Stored:
    def __init__(self, kind: str, key: str, count: int) -> None:
        self.pid = ("storage", Named("torch", f"{kind}Storage"), key, "cpu", count)


class Rebuilt:
    """A tensor as torch.save writes it."""

    def __init__(self, storage: Stored, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.args: tuple[object, ...] = (storage, offset, shape, stride, False, OrderedDict())


PythonPickler: Any = vars(pickle)["_Pickler"]  # the one written in Python lets names be written by hand


class TorchPickler(PythonPickler):  # type: ignore[misc]  # its type is not declared
    def persistent_id(self, obj: object) -> object:
        return obj.pid if isinstance(obj, Stored) else None

    def save(self, obj: object, save_persistent_id: bool = True) -> None:
        if isinstance(obj, Named):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Rebuilt):
            self.save_reduce(Named("torch._utils", "_rebuild_tensor_v2"), obj.args)
        else:
            super().save(obj, save_persistent_id)

    def save_reduce(self, func: object, args: object, *rest: object, **more: object) -> None:
        if isinstance(func, Named):
            self.save(func)
            self.save(args)
            self.write(pickle.REDUCE)
        else:
            super().save_reduce(func, args, *rest, **more)


def torch_zip(
    content: object, storages: dict[str, bytes], *, root: str = "archive", byteorder: str = "little"
) -> bytes:
    pickled = io.BytesIO()
    TorchPickler(pickled, 2).dump(content)
    return torch_archive(pickled.getvalue(), storages, root=root, byteorder=byteorder)


def torch_archive(
    pickled: bytes, storages: dict[str, bytes], *, root: str = "archive", byteorder: str = "little"
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{root}/data.pkl", pickled)
        archive.writestr(f"{root}/byteorder", byteorder)
        for key, data in storages.items():
            archive.writestr(f"{root}/data/{key}", data)
        archive.writestr(f"{root}/version", "3\n")
    return out.getvalue()


def tensor(key: str, values: Array, kind: str = "Float", *, offset: int = 0) -> Rebuilt:
    stride = tuple(int(np.prod(values.shape[i + 1 :], dtype=int)) for i in range(values.ndim))
    return Rebuilt(Stored(kind, key, values.size), offset, values.shape, stride)


def cut_out(content: bytes, folder: Path, plan: CheckpointCut = PLAN, mapped: tuple[str, ...] = ()) -> dict[str, Array]:
    """The planned arrays of a checkpoint, by way of `folder`."""
    source = folder / "checkpoint"
    source.write_bytes(content)
    npz = folder / "weights.npz"
    with source.open("rb") as file, Progress(None).transfer("x") as transfer:
        cut(file, plan, npz, {name: folder / f"weights.{name}.npy" for name in mapped}, transfer)
    return dict(load_text_weights(npz))
