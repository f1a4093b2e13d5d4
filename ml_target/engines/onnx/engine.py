"""The CPU engine: ONNX Runtime on the networks the HEFs were compiled from."""

import logging
from pathlib import Path
from typing import Any

from ml_target.catalogue.types import ModelFile, Network
from ml_target.engines import Capabilities, LoadedNetwork
from ml_target.engines.onnx import arena
from ml_target.engines.onnx.network import OnnxNetwork
from ml_target.engines.onnx.sharing import Cores
from ml_target.errors import DamagedFileError, EngineFault, ModelError
from ml_target.figures.observer import RecoveryKind
from ml_target.remedies import damaged
from ml_target.system.cgroups import available_cores
from ml_target.system.finding import Finding

log = logging.getLogger(__name__)


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

    def open(self, file: Path, network: Network) -> OnnxNetwork:
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

    def doubt(self, network: LoadedNetwork) -> None:
        """The processor's answers are always trusted."""

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
