"""A network on the CPU engine: a session of ONNX Runtime that takes frames and names its outputs by role."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ml_target.catalogue.binding import Binding, bind
from ml_target.catalogue.types import Network, PictureInput, TextInput
from ml_target.engines import Intake
from ml_target.engines.onnx import arena
from ml_target.engines.onnx.sharing import Cores
from ml_target.errors import EngineFault, ModelError, Unavailable
from ml_target.remedies import command
from ml_target.tensors import Array, Float32, Outputs, Tensor

MAX_BATCH = 8
"""Texts of one inference. Pictures go one by one: several at once gain nothing on a processor, take as many times the
memory, and keep every one of them waiting for the last."""

USUAL_PIXELS = 1 << 20
"""The memory of a frame of up to this many pixels is kept for the next one: 160 MB of the text detector's."""

_FLOATS = ("tensor(float)",)
_INTEGERS = {"tensor(int32)": "int32", "tensor(int64)": "int64"}


class OnnxNetwork:
    """One session, with pictures normalised and outputs named by role.

    `connect`: opens a session of the file; `cores`: what all of the engine's networks run on.
    """

    def __init__(self, connect: Callable[[], Any], file: Path, network: Network, cores: Cores) -> None:
        self._connect = connect
        self._cores = cores
        self._file = file
        self._identity = _identity(file)
        self.network = network
        self._session: Any = connect()
        self._input, self.intake, batch = _intake(self._session.get_inputs(), network.input)
        self._normalise = _Normalisation(network.input) if isinstance(network.input, PictureInput) else None
        frame = _first_frame(self.intake, network.input)
        raw = self._call([frame])
        self._bindings: tuple[Binding, ...] = bind(network.forms, [value.shape for value in raw], frame.shape)
        batches = self._normalise is None and batch is None and self._takes_batches(frame)
        self.max_batch = MAX_BATCH if batches else 1
        outputs = self._name(raw, frame.shape, 1)[0]
        self.roles: Mapping[str, tuple[int, ...]] = {role: t.values.shape for role, t in outputs.items()}

    def run(self, frames: Sequence[Array]) -> list[Outputs]:
        """Runs frames of one shape, at most `max_batch`. Raises EngineFault."""
        return self._name(self._call(frames), frames[0].shape, len(frames))

    def close(self) -> None:
        """The session frees its memory when the last reference goes."""

    def unload(self) -> None:
        """Frees the session until `reload`."""
        self._session = None

    def reload(self) -> None:
        """Opens the session again if it is not open. Raises Unavailable where the file has gone, or is another one."""
        if self._session is not None:
            return
        try:
            if _identity(self._file) != self._identity:  # the status page would tell of another one
                raise Unavailable(
                    f"{self._file} is another file than the one that was loaded at the start",
                    "Restart the worker: it checks the new one.",
                )
            self._session = self._connect()
        except (OSError, ModelError) as error:
            raise Unavailable(
                f"{self.network.name} cannot be loaded again ({error})",
                f"Put the file back ({command('models')} lists what is there), or restart the worker.",
            ) from error

    def _call(self, frames: Sequence[Array]) -> list[Array]:
        if self._normalise is not None:
            batch: Array = self._normalise(frames)
        else:
            batch = np.stack([np.asarray(frame, dtype=self.intake.dtype) for frame in frames])
        large = self._normalise is not None and frames[0].shape[0] * frames[0].shape[1] > USUAL_PIXELS
        try:
            return self._cores.run(self._session, {self._input: batch}, arena.shrinking() if large else None)
        except Exception as error:
            raise EngineFault(
                f"{self.network.name} failed on a frame of {frames[0].shape} ({error})",
                f"If it happens again, run `{command('models verify')}` and report it.",
            ) from error

    def _takes_batches(self, frame: Array) -> bool:
        """Some exports declare a free batch size and cannot take one, or flatten it away."""
        try:
            return all(value.shape[0] == 2 for value in self._call([frame, frame]))
        except EngineFault:
            return False

    def _name(self, raw: Sequence[Array], frame: tuple[int, ...], count: int) -> list[Outputs]:
        split = {b.output.role: [raw[b.index]] if count == 1 else np.split(raw[b.index], count) for b in self._bindings}
        return [
            {b.output.role: Tensor(b.canonical(np.asarray(split[b.output.role][i]), frame)) for b in self._bindings}
            for i in range(count)
        ]


def _identity(file: Path) -> tuple[int, int, int]:
    """What changes when a file is replaced or written to."""
    found = file.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


class _Normalisation:
    """uint8 H x W x 3 frames to float32 N x 3 x H x W, `(x - mean) / std` by table."""

    def __init__(self, spec: PictureInput) -> None:
        levels = np.arange(256, dtype=np.float64)
        self._tables = [((levels - m) / s).astype(np.float32) for m, s in zip(spec.mean, spec.std, strict=True)]

    def __call__(self, frames: Sequence[Array]) -> Float32:
        height, width, channels = frames[0].shape
        batch = np.empty((len(frames), channels, height, width), np.float32)
        for planes, frame in zip(batch, frames, strict=True):
            for plane, levels, table in zip(planes, cv2.split(np.ascontiguousarray(frame)), self._tables, strict=True):
                cv2.LUT(levels, table, dst=plane)
        return batch


def _intake(inputs: Sequence[Any], spec: PictureInput | TextInput) -> tuple[str, Intake, int | None]:
    """Name, frame and fixed batch size (None where free) of the file's only input."""
    if len(inputs) != 1:
        raise ModelError(f"it has {len(inputs)} inputs ({', '.join(i.name for i in inputs)}), one is wanted.")
    only = inputs[0]
    shape = tuple(n if isinstance(n, int) and n > 0 else None for n in only.shape)
    batch = shape[0] if shape else None
    problem = ModelError(f"its input is {only.type} {list(only.shape)}, {_wanted(spec)} is wanted.")
    if isinstance(spec, PictureInput):
        if only.type not in _FLOATS or len(shape) != 4 or shape[1] not in (3, None):
            raise problem
        size = (shape[2], shape[3])
        if any(n is not None and n != fixed for n, fixed in zip(size, (spec.height, spec.width), strict=True)):
            raise problem
        return only.name, Intake((*size, 3), "uint8"), batch
    if len(shape) == 2 and only.type in _INTEGERS and shape[1] in (spec.tokens, None):
        return only.name, Intake((spec.tokens,), _INTEGERS[only.type]), batch
    if len(shape) == 3 and only.type in _FLOATS and shape[1] in (spec.tokens, None) and shape[2] in (spec.width, None):
        return only.name, Intake((spec.tokens, spec.width), "float32"), batch
    raise problem


def _wanted(spec: PictureInput | TextInput) -> str:
    if isinstance(spec, PictureInput):
        return f"tensor(float) [N, 3, {spec.height}, {spec.width}] or free sizes"
    return f"ids [N, {spec.tokens}] or tensor(float) [N, {spec.tokens}, {spec.width}]"


def _first_frame(intake: Intake, spec: PictureInput | TextInput) -> Array:
    """A frame of the catalogue's size: enough to see every output's shape."""
    if isinstance(spec, PictureInput):
        return np.zeros((spec.height, spec.width, 3), np.uint8)
    shape = tuple(n if n is not None else spec.tokens for n in intake.shape)
    return np.zeros(shape, intake.dtype)
