"""Finds tensors in a safetensors checkpoint."""

import json

from ml_target.store.faults import SourceError
from ml_target.store.ranges import PartialFile
from ml_target.store.weights.tensorfile import FLOATS, StoredTensor

LENGTH_BYTES = 8
MAX_HEADER = 100_000_000


class SafetensorsFile:
    """The float tensors of a safetensors checkpoint. Raises SourceError when it is none."""

    def __init__(self, file: PartialFile) -> None:
        size = int.from_bytes(file.bytes_at(0, min(LENGTH_BYTES, file.size)), "little")
        if not 0 < size <= min(MAX_HEADER, file.size - LENGTH_BYTES):
            raise SourceError("this is not a safetensors file: its header does not fit into it")
        file.seek(LENGTH_BYTES)
        base = LENGTH_BYTES + size
        try:
            header = json.loads(file.read(size))
            self._tensors = {
                name: _tensor(name, entry, base, file.size)
                for name, entry in header.items()
                if name != "__metadata__" and entry["dtype"] in FLOATS
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(f"this is not a safetensors file, or it is damaged ({error})") from error
        self.names = frozenset(self._tensors)

    def tensor(self, name: str) -> StoredTensor:
        """Where the tensor of that name lies."""
        return self._tensors[name]


def _tensor(name: str, entry: dict[str, object], base: int, file_size: int) -> StoredTensor:
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (isinstance(shape, list) and isinstance(offsets, list) and isinstance(dtype, str)):
        raise ValueError(f"entry of {name}")
    start, end = offsets
    tensor = StoredTensor(name, dtype, tuple(int(n) for n in shape), base + int(start))
    if int(start) < 0 or int(end) - int(start) != tensor.nbytes or base + int(end) > file_size:
        raise ValueError(f"{name} reaches beyond the file, or its length does not fit its shape")
    return tensor
