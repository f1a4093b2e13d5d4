"""A tensor inside a checkpoint: where its numbers lie, and how they are brought into an array."""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ml_target.store.faults import SourceError
from ml_target.store.ranges import PartialFile
from ml_target.tensors import Array

FLOATS = {"F32": 4, "F16": 2, "BF16": 2}
"""Kinds of numbers that are read -> bytes of one, little-endian."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """`start`: byte where the numbers begin, row by row. `crc`: of all of them, where the file knows it."""

    name: str
    kind: str
    shape: tuple[int, ...]
    start: int
    crc: int | None = None

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * FLOATS[self.kind]

    def rows(self, file: PartialFile, dtype: str) -> Iterator[Array]:
        """The tensor as flat runs of `dtype` (float16, float32), without ever holding all of it.

        Raises SourceError for damage, and where a number does not fit `dtype`.
        """
        width, left, crc = FLOATS[self.kind], b"", 0
        for block in file.chunks(self.start, self.nbytes):
            crc = zlib.crc32(block, crc) if self.crc is not None else 0
            block = left + block
            whole = len(block) - len(block) % width
            left = block[whole:]
            yield self._converted(block[:whole], dtype)
        if self.crc is not None and crc != self.crc:
            raise SourceError(f"{self.name} is damaged in the checkpoint (checksum); get it again")

    def read(self, file: PartialFile, dtype: str) -> Array:
        """The whole tensor in its shape. Raises SourceError as `rows` does."""
        parts = list(self.rows(file, dtype))
        return np.concatenate(parts).reshape(self.shape) if parts else np.zeros(self.shape, dtype)

    def _converted(self, raw: bytes, dtype: str) -> Array:
        values: Array
        if self.kind == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, "<f4" if self.kind == "F32" else "<f2")
        if not np.isfinite(values).all():
            raise SourceError(f"{self.name} holds numbers that are not finite; the checkpoint is damaged")
        if np.abs(values).max(initial=0) > np.finfo(dtype).max:
            raise SourceError(f"{self.name} holds numbers that do not fit {dtype}")
        return values.astype(dtype)
