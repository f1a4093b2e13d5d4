"""From settings and files to services, at start.

A file that is missing turns its task off, with the reason. A file that is there but damaged, or
not what the catalogue says, stops the worker: somebody meant it to be served.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ml_target.arbiter import Arbiter
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
from ml_target.catalogue.types import ClipBackend, ModelFile, Network
from ml_target.config import Settings
from ml_target.decoders.ctc import Alphabet
from ml_target.engines import Engine
from ml_target.errors import ModelError
from ml_target.faces import FaceFinder
from ml_target.host import HostPool
from ml_target.models import Model, Provenance
from ml_target.ocr import TextReader
from ml_target.search import PictureEncoder, TextEncoder
from ml_target.services import ClipService, Service, Services
from ml_target.store import Store, load_text_weights
from ml_target.text_head import TextHead
from ml_target.tokenizer import open_tokenizer

log = logging.getLogger(__name__)
T = TypeVar("T")


class MissingFileError(ModelError):
    """A file that a task needs is not there; the message says how to get it."""


class Loader:
    """Opens networks on one engine, with files from one store."""

    def __init__(self, settings: Settings, store: Store, engine: Engine, arbiter: Arbiter, host: HostPool) -> None:
        self._settings = settings
        self._store = store
        self._engine = engine
        self._arbiter = arbiter
        self._host = host

    def services(self) -> Services:
        """Loads all that the settings ask for. Raises ModelError for a file that is wrong."""
        by_name = self._settings.clip_backend == "auto"
        backends = list(CLIP_BACKENDS.values()) if by_name else [CLIP_BACKENDS[self._settings.clip_backend]]
        return Services(
            clip={backend.name: self._clip(backend) for backend in backends},
            faces=self._service("facial-recognition", self._faces),
            ocr=self._service("ocr", self._ocr),
            by_name=by_name,
        )

    def _service(self, label: str, load: Callable[[], tuple[T, tuple[Model, ...]]]) -> Service[T]:
        try:
            serves, models = load()
        except MissingFileError as error:
            return Service(label, why_off=str(error))
        return Service(label, serves, models)

    # ------------------------------------------------------------------ tasks

    def _clip(self, backend: ClipBackend) -> ClipService:
        def visual() -> tuple[PictureEncoder, tuple[Model, ...]]:
            model = self._model(backend.visual)
            resize = "shortest" if backend.family == "clip" else self._settings.siglip_resize
            return PictureEncoder(model, self._host, resize), (model,)

        def textual() -> tuple[TextEncoder, tuple[Model, ...]]:
            vocabulary = [self._file(file) for file in backend.vocabulary]
            model = self._model(backend.textual, interactive=True)
            tokenizer = open_tokenizer(backend.family, vocabulary)
            weights = self._store.find(backend.text_weights)
            if weights is not None:
                self._store.check(backend.text_weights, weights)
            head = TextHead(backend, None if weights is None else load_text_weights(weights))
            try:
                return TextEncoder(model, tokenizer, head, self._host), (model,)
            except ModelError as error:
                if weights is None:  # whether they are needed shows only when the tower is open
                    raise MissingFileError(str(error)) from error
                raise

        return ClipService(
            backend,
            self._service(f"clip.visual ({backend.name})", visual),
            self._service(f"clip.textual ({backend.name})", textual),
        )

    def _faces(self) -> tuple[FaceFinder, tuple[Model, ...]]:
        detector = self._model(FACE_DETECTORS[self._settings.face_detector])
        recognizer = self._model(self._recognizer())
        return FaceFinder(detector, recognizer, self._host, self._settings.max_faces), (detector, recognizer)

    def _recognizer(self) -> Network:
        """The network that was chosen; where none was, the stand-in if only that one is there, announced."""
        if self._settings.face_recognizer:
            return FACE_RECOGNIZERS[self._settings.face_recognizer]
        if self._present(ARCFACE_R50) is None and self._present(STAND_IN_EMBEDDER) is not None:
            log.warning(
                "%s is not there; faces are described by %s: %s. Keep these vectors out of a real library.",
                ARCFACE_R50.name,
                STAND_IN_EMBEDDER.name,
                STAND_IN_EMBEDDER.note,
            )
            return STAND_IN_EMBEDDER
        return ARCFACE_R50

    def _ocr(self) -> tuple[TextReader, tuple[Model, ...]]:
        detector = self._model(OCR_DETECTION)
        recognizer = self._model(OCR_RECOGNITION)
        alphabet = Alphabet.from_file(self._file(files.OCR_DICTIONARY))
        reader = TextReader(detector, recognizer, alphabet, self._host, self._settings.max_text_lines)
        return reader, (detector, recognizer)

    # ------------------------------------------------------------------ files

    def _model(self, network: Network, *, interactive: bool = False) -> Model:
        found = self._present(network)
        if found is None:
            raise MissingFileError(self._store.remedy(self._choices(network)[0]))
        file, path = found
        sha256 = self._store.check(file, path)
        loaded = self._engine.open(path, network)
        return Model(
            network,
            loaded,
            self._arbiter,
            Provenance(path.name, sha256, self._engine.name, file.note),
            interactive=interactive,
        )

    def _choices(self, network: Network) -> tuple[ModelFile, ...]:
        return network.onnx

    def _present(self, network: Network) -> tuple[ModelFile, Path] | None:
        for file in self._choices(network):
            path = self._store.find(file)
            if path is not None:
                return file, path
        return None

    def _file(self, file: ModelFile) -> Path:
        path = self._store.find(file)
        if path is None:
            raise MissingFileError(self._store.remedy(file))
        self._store.check(file, path)
        return path
