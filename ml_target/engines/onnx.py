"""The CPU engine: ONNX Runtime on the networks the HEFs were compiled from."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ml_target.catalogue.binding import Binding, bind
from ml_target.catalogue.types import ModelFile, Network, PictureInput, TextInput
from ml_target.engines import Capabilities, Intake, LoadedNetwork, arena
from ml_target.engines.sharing import Cores
from ml_target.errors import DamagedFileError, EngineFault, ModelError, Unavailable
from ml_target.figures.observer import RecoveryKind
from ml_target.remedies import command, damaged
from ml_target.system.cards import Finding
from ml_target.system.cgroups import available_cores
from ml_target.tensors import Array, Float32, Outputs, Tensor

log = logging.getLogger(__name__)

MAX_BATCH = 8
"""Texts of one inference. Pictures go one by one: several at once gain nothing on a processor, take as many times the
memory, and keep every one of them waiting for the last."""

USUAL_PIXELS = 1 << 20
"""The memory of a frame of up to this many pixels is kept for the next one: 160 MB of the text detector's."""

_FLOATS = ("tensor(float)",)
_INTEGERS = {"tensor(int32)": "int32", "tensor(int64)": "int64"}


class OnnxEngine:
    """ONNX Runtime's CPU provider. `threads`: of an inference that is alone; `workers`: inferences at a time.

    Raises ModelError where ONNX Runtime is not installed.
    """

    name = "cpu"

    def __init__(self, threads: int, workers: int = 1) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ModelError(
                f"the CPU engine needs onnxruntime ({error})", "Install it: pip install onnxruntime"
            ) from error
        onnxruntime.set_default_logger_severity(3)
        self._runtime: Any = onnxruntime
        self._threads = threads
        self._cores = Cores(threads, available_cores())
        self._networks: list[OnnxNetwork] = []
        # A query never waits for a picture here: the processor can do both.
        self.capabilities = Capabilities(lanes=workers, own_lane=True, unloads=True)

    @property
    def device(self) -> str:
        """The same for every CPU engine."""
        return "the processor"

    def files(self, network: Network) -> tuple[ModelFile, ...]:
        """The network's ONNX files, those with free sizes first."""
        return network.onnx

    def check(self, file: Path, network: Network) -> None:
        """Nothing to do: opening is the check, and there is no device to protect from it."""

    def start(self) -> None:
        """Nothing to do: there is no device."""

    def open(self, file: Path, network: Network) -> "OnnxNetwork":
        """Opens the file and finds its roles with a first inference.

        Raises ModelError when it does not fit, DamagedFileError when it does not open or run.
        """
        try:
            loaded = OnnxNetwork(lambda: self._session(file), file, network, self._cores)
        except DamagedFileError:
            raise
        except ModelError as error:
            raise ModelError(f"{file.name} does not fit {network.name}: {error.reason}", error.remedy) from error
        except EngineFault as error:  # its inputs are right, but it does not run
            raise damaged(f"{file} opens, but does not run: {error.__cause__}") from error
        self._networks.append(loaded)
        return loaded

    def _session(self, file: Path) -> Any:
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # Idle threads that spin would take the processor from decoding and from the other models.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.set_denormal_as_zero", "1")  # in the session's threads
        # Memory patterns are kept per shape: free sizes would collect one for every picture size.
        options.enable_mem_pattern = False
        arena.use_shared(options)
        try:
            return self._runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise damaged(f"{file} cannot be opened by ONNX Runtime ({error})") from error

    def about(self) -> list[Finding]:
        """ONNX Runtime's version, and how many threads compute."""
        return [
            Finding(True, "ONNX Runtime", f"version {self._runtime.__version__}"),
            Finding(True, "inferences at a time", f"{self.capabilities.lanes}"),
            Finding(True, "threads of one inference", f"{self._threads}"),
        ]

    def health(self) -> dict[str, float]:
        """The processor has no readings."""
        return {}

    def doubt(self, network: LoadedNetwork) -> str:
        """The processor's answers are always trusted."""
        return ""

    def recover(self, network: LoadedNetwork) -> RecoveryKind:
        """Nothing to do: a session loses nothing."""
        return "already_back"

    def rest(self) -> None:
        """Frees what inferences have computed in."""
        arena.shrink()

    def unload(self) -> None:
        """Frees the networks; not while one runs."""
        for network in self._networks:
            network.unload()
        arena.shrink()

    def reload(self) -> None:
        """Opens them again. Raises Unavailable where a file has gone, or is another one now."""
        for number, network in enumerate(self._networks, 1):
            log.info("loading %s (%d of %d)", network.network.name, number, len(self._networks))
            network.reload()

    def close(self) -> None:
        """Nothing to do: sessions free themselves."""


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
