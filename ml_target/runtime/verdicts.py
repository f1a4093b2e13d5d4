"""What selfcheck has found about HEFs that their owner compiled, so that the worker knows: `verdicts.json`.

Our own code, as the record is our own format (a JSON file that can be read and deleted).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ml_target.catalogue.networks import short_name
from ml_target.catalogue.types import Network
from ml_target.config import setting_names
from ml_target.errors import DamagedFileError, ModelError
from ml_target.remedies import selfcheck
from ml_target.system.folders import writable
from ml_target.system.record import write_json

NAME = "verdicts.json"
PAGE = "docs/compiling.md"


@dataclass(frozen=True, slots=True)
class Parity:
    """How near a HEF is to its ONNX: whether selfcheck has `passed` it, and the figures that it `found`, in words.

    `onnx`: SHA-256 (hex) of the file that the HEF was compared with.
    """

    file: str
    onnx: str
    passed: bool
    found: str


class Parities:
    """The verdicts by the SHA-256 of the HEF. They lie beside it or, if its folder is read-only, in `spare`."""

    def __init__(self, spare: Path) -> None:
        self._spare = spare

    def require(self, network: Network, path: Path, sha256: str) -> None:
        """Raises DamagedFileError for a HEF of the owner's own that selfcheck has not found near its ONNX.

        `sha256`: hex, of the HEF at `path`. A verdict holds for two files alone: a changed one needs a new verdict.
        """
        if network.template is None:
            return
        parity = self._get(path, sha256)
        published = network.onnx[0].sha256
        if parity is None or published not in (None, parity.onnx):
            raise DamagedFileError(
                f"{path.name} was compiled by its owner, and has not been compared with {network.onnx[0].name} yet",
                f"Run {selfcheck(short_name(network.task))}, then restart the worker ({PAGE}){_or_twin(network)}",
                f"{path.name} waits for selfcheck",
            )
        if not parity.passed:
            raise DamagedFileError(
                f"{path.name} is too far from {network.onnx[0].name}, as selfcheck found: {parity.found}",
                compile_again(network),
                f"{path.name} failed selfcheck",
            )

    def put(self, path: Path, sha256: str, parity: Parity) -> Path:
        """Records the verdict about the HEF at `path`, atomically; returns the record's path.

        Raises ModelError if nothing can be written, or if an older record cannot be read.
        """
        record = (path.parent if writable(path.parent) else self._spare) / NAME
        entries = {**_read(record), sha256: parity}
        try:
            write_json(record, {key: asdict(each) for key, each in entries.items()})
        except OSError as error:
            raise ModelError(
                f"{record} cannot be written ({error.strerror or error}), so the worker would not know the verdict",
                f"Run this where that folder can be written ({PAGE}).",
            ) from error
        return record

    def _get(self, path: Path, sha256: str) -> Parity | None:
        records = (_read(folder / NAME) for folder in dict.fromkeys((path.parent, self._spare)))
        return next((record[sha256] for record in records if sha256 in record), None)


def compile_again(network: Network) -> str:
    """What to do about a HEF that is too far from its ONNX; a sentence without its full stop."""
    return f"Compile it again, with more {network.calibrated_on} of your own ({PAGE}){_or_twin(network)}"


def _or_twin(network: Network) -> str:
    twin = network.twin
    if twin is None:
        return ""
    return f"; or {setting_names(twin.setting)[0]}={twin.choice} runs the same network on the processor"


def _read(record: Path) -> dict[str, Parity]:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        return {
            str(key): Parity(str(each["file"]), str(each["onnx"]), each["passed"] is True, str(each["found"]))
            for key, each in content.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{record} cannot be read ({error})",
            "It holds what selfcheck found about your own HEFs; restore it, or delete it and run selfcheck again.",
        ) from error
