"""Which files of the catalogue a choice of settings needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from ml_target.catalogue import files
from ml_target.catalogue.networks import (
    ARCFACE_R50,
    CLIP_BACKENDS,
    FACE_DETECTORS,
    FACE_RECOGNIZERS,
    OCR_DETECTION,
    OCR_RECOGNITION,
    STAND_IN_EMBEDDER,
)
from ml_target.catalogue.types import Chip, ClipBackend, ModelFile, Network

EngineName = Literal["cpu", "hailo"]


class Choice(Protocol):
    """The settings that decide which files are needed."""

    @property
    def clip_backend(self) -> str: ...
    @property
    def clip_text_engine(self) -> str: ...
    @property
    def face_detector(self) -> str: ...
    @property
    def face_recognizer(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Need:
    """A file that the task `label` wants on `engine` (cpu, a chip, or any).

    Any one of `files` will do, the first is the best. Without an `optional` one the task still runs.
    """

    label: str
    engine: str
    files: tuple[ModelFile, ...]
    optional: bool = False


def needs(settings: Choice, engine: EngineName, chip: Chip = "hailo8") -> list[Need]:
    """What the chosen tasks need on that engine, task by task."""
    chosen = [settings.clip_backend] if settings.clip_backend != "auto" else list(CLIP_BACKENDS)
    found: list[Need] = []
    text: EngineName = "cpu" if settings.clip_text_engine == "cpu" else engine
    for backend in map(CLIP_BACKENDS.__getitem__, chosen):
        found += _clip(backend, engine, text, chip)
    recognizer = FACE_RECOGNIZERS[settings.face_recognizer or ARCFACE_R50.name]
    found.append(_network("faces", FACE_DETECTORS[settings.face_detector], engine, chip))
    faces = _network("faces", recognizer, engine, chip)
    if not settings.face_recognizer and engine == "cpu":
        faces = Need(faces.label, faces.engine, faces.files + STAND_IN_EMBEDDER.onnx)
    found.append(faces)
    found += [_network("ocr", network, engine, chip) for network in (OCR_DETECTION, OCR_RECOGNITION)]
    found.append(Need("ocr", "any", (files.OCR_DICTIONARY,)))
    return found


def needed_files(
    settings: Choice,
    engine: EngineName,
    chip: Chip = "hailo8",
    present: Callable[[ModelFile], bool] = lambda file: False,
) -> list[tuple[str, ModelFile]]:
    """Task and file for all that must be there: the alternative that is `present`, else the first choice."""
    return [
        (need.label, next(filter(present, need.files), need.files[0]))
        for need in needs(settings, engine, chip)
        if not need.optional
    ]


def whole_catalogue(chip: Chip = "hailo8") -> list[Need]:
    """Every file once, each a need of its own; of the HEFs those for `chip`."""
    found: list[Need] = []
    for backend in CLIP_BACKENDS.values():
        for engine in ("hailo", "cpu"):
            found += [need for need in _clip(backend, engine, engine, chip) if need not in found]
    faces = (*FACE_DETECTORS.values(), *FACE_RECOGNIZERS.values())
    for label, networks in (("faces", faces), ("ocr", (OCR_DETECTION, OCR_RECOGNITION))):
        for network in networks:
            if network.hef:
                found.append(_network(label, network, "hailo", chip))
            found.append(_network(label, network, "cpu", chip))
    found.append(Need("ocr", "any", (files.OCR_DICTIONARY,)))
    single: dict[str, Need] = {}
    for need in found:
        for file in need.files:
            optional = need.optional or not file.sources
            single.setdefault(file.name, Need(need.label, need.engine, (file,), optional))
    return list(single.values())


def _clip(backend: ClipBackend, engine: EngineName, text: EngineName, chip: Chip) -> list[Need]:
    """`text`: the engine of the search queries."""
    label = f"clip {backend.name}"
    # On the CPU the text weights are of use only where the text network takes embeddings.
    return [
        _network(label, backend.visual, engine, chip),
        _network(label, backend.textual, text, chip),
        *(Need(label, "any", (file,)) for file in backend.vocabulary),
        Need(label, "any", (backend.text_weights,), optional=text == "cpu"),
    ]


def _network(label: str, network: Network, engine: EngineName, chip: Chip) -> Need:
    """The network's files for an engine. Raises KeyError for one that was never compiled for the chip."""
    if engine == "cpu":
        return Need(label, "cpu", network.onnx)
    return Need(label, chip, (network.hef[chip],))
