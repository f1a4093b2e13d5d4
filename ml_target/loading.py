"""From settings and files to services, at start.

A file that is missing turns its task off, with the reason. A file that is there but damaged, or
not what the catalogue says, stops the worker: somebody meant it to be served.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from ml_target.errors import ModelError, Unavailable
from ml_target.faces import FaceFinder
from ml_target.host import HostPool
from ml_target.models import Model, Provenance
from ml_target.ocr import TextReader
from ml_target.search import PictureEncoder, TextEncoder
from ml_target.services import ClipService, Service, Services
from ml_target.store import Store, load_text_weights
from ml_target.tensors import Array
from ml_target.text_head import TextHead, TextLayout
from ml_target.text_layouts import LayoutBook
from ml_target.text_probe import agree, settle
from ml_target.tokenizer import Tokenizer, open_tokenizer

log = logging.getLogger(__name__)
T = TypeVar("T")


class MissingFileError(ModelError):
    """A file that a task needs is not there; the message says how to get it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where networks run: an engine, and the arbiter of its device."""

    engine: Engine
    arbiter: Arbiter


class Loader:
    """Opens what the settings ask for, with files from one store. `text`: where search queries run."""

    def __init__(self, settings: Settings, store: Store, host: HostPool, place: Place, text: Place) -> None:
        self._settings = settings
        self._store = store
        self._host = host
        self._place = place
        self._text = text
        self._layouts = LayoutBook(store.target)
        self._recognizer = self._choose_recognizer()

    def services(self) -> Services:
        """Checks every file, then opens the device, then loads. Raises ModelError for a file that is wrong."""
        by_name = self._settings.clip_backend == "auto"
        backends = list(CLIP_BACKENDS.values()) if by_name else [CLIP_BACKENDS[self._settings.clip_backend]]
        self._check_files(backends)
        for engine in {id(place.engine): place.engine for place in (self._place, self._text)}.values():
            engine.start()
        return Services(
            clip={b.name: ClipService(b, self.picture_encoder(b), self.text_encoder(b)) for b in backends},
            faces=self.face_finder(),
            ocr=self.text_reader(),
            by_name=by_name,
        )

    # One service at a time, once the engines have started.

    def picture_encoder(self, backend: ClipBackend) -> Service[PictureEncoder]:
        return self._service(f"clip.visual ({backend.name})", lambda: self._visual(backend))

    def text_encoder(self, backend: ClipBackend) -> Service[TextEncoder]:
        return self._service(f"clip.textual ({backend.name})", lambda: self._textual(backend))

    def face_finder(self) -> Service[FaceFinder]:
        return self._service("facial-recognition", self._faces)

    def text_reader(self) -> Service[TextReader]:
        return self._service("ocr", self._ocr)

    def model(self, network: Network) -> Model:
        """A network by itself, where pictures run. Raises ModelError."""
        return self._model(network, self._place)

    def _check_files(self, backends: Sequence[ClipBackend]) -> None:
        """A file that cannot be served is told before any device is touched."""
        networks = [b.visual for b in backends]
        networks += [FACE_DETECTORS[self._settings.face_detector], self._recognizer, OCR_DETECTION, OCR_RECOGNITION]
        wanted = [(self._place, n) for n in networks] + [(self._text, b.textual) for b in backends]
        for place, network in wanted:
            if (found := self._present(network, place)) is not None:
                place.engine.check(found[1], network)

    def _service(self, label: str, load: Callable[[], tuple[T, tuple[Model, ...]]]) -> Service[T]:
        try:
            serves, models = load()
        except (MissingFileError, Unavailable) as error:
            return Service(label, never=str(error))
        return Service(label, serves, models)

    # ------------------------------------------------------------------ tasks

    def _visual(self, backend: ClipBackend) -> tuple[PictureEncoder, tuple[Model, ...]]:
        model = self._model(backend.visual, self._place)
        resize = "shortest" if backend.family == "clip" else self._settings.siglip_resize
        return PictureEncoder(model, self._host, resize), (model,)

    def _textual(self, backend: ClipBackend) -> tuple[TextEncoder, tuple[Model, ...]]:
        self._require(self._text, backend.textual)
        vocabulary = [self._file(file) for file in backend.vocabulary]
        tokenizer = open_tokenizer(backend.family, vocabulary)
        weights = self._weights(backend)
        model = self._model(backend.textual, self._text, interactive=True)
        try:
            head = TextHead(backend, weights, self._layout(model, backend, weights, tokenizer))
            return TextEncoder(model, tokenizer, head, self._host), (model,)
        except ModelError as error:
            if weights is None:  # whether they are needed shows only when the tower is open
                raise MissingFileError(str(error)) from error
            raise

    def _weights(self, backend: ClipBackend) -> Mapping[str, Array] | None:
        path = self._store.find(backend.text_weights)
        if path is None:
            return None
        self._store.check(backend.text_weights, path)
        return load_text_weights(path)

    def _layout(
        self, model: Model, backend: ClipBackend, weights: Mapping[str, Array] | None, tokenizer: Tokenizer
    ) -> TextLayout:
        """What a tower on the card leaves to the host: found out once, kept with the file's hash."""
        if self._text.engine.name != "hailo" or weights is None:
            return TextLayout()
        sha256 = model.provenance.sha256
        layout = self._layouts.get(sha256)
        if layout is None:
            TextHead(backend, weights).check(model.intake, model.loaded.roles, tokenizer.size)
            layout = settle(lambda frame: model.loaded.run([frame])[0], model.intake, backend, weights, tokenizer)
            self._confirm(model, backend, weights, tokenizer, layout)
            self._layouts.keep(sha256, layout)
        log.info("%s on the card: %s", backend.textual.name, layout)
        return layout

    def _confirm(
        self, model: Model, backend: ClipBackend, weights: Mapping[str, Array], tokenizer: Tokenizer, layout: TextLayout
    ) -> None:
        """Compares the card's text vectors with the processor's, where that tower's file happens to be there."""
        found = next(((f, p) for f in backend.textual.onnx if (p := self._store.find(f)) is not None), None)
        if found is None:
            return
        from ml_target.engines.onnx import OnnxEngine

        self._store.check(*found)
        tower = OnnxEngine(threads=1).open(found[1], backend.textual)
        head = TextHead(backend, weights)
        head.check(tower.intake, tower.roles, tokenizer.size)
        agree((model.loaded, TextHead(backend, weights, layout)), (tower, head), tokenizer)

    def _faces(self) -> tuple[FaceFinder, tuple[Model, ...]]:
        networks = (FACE_DETECTORS[self._settings.face_detector], self._recognizer)
        self._require(self._place, *networks)
        detector, recognizer = (self._model(network, self._place) for network in networks)
        finder = FaceFinder(detector, recognizer, self._host, self._settings.max_faces, self._settings.face_search)
        return finder, (detector, recognizer)

    def _choose_recognizer(self) -> Network:
        """The network that was chosen; where none was, the stand-in if only that one is there, announced."""
        if self._settings.face_recognizer:
            return FACE_RECOGNIZERS[self._settings.face_recognizer]
        if self._present(ARCFACE_R50, self._place) is None and self._present(STAND_IN_EMBEDDER, self._place):
            log.warning(
                "%s is not there; faces are described by %s: %s. Keep these vectors out of a real library.",
                ARCFACE_R50.name,
                STAND_IN_EMBEDDER.name,
                STAND_IN_EMBEDDER.note,
            )
            return STAND_IN_EMBEDDER
        return ARCFACE_R50

    def _ocr(self) -> tuple[TextReader, tuple[Model, ...]]:
        self._require(self._place, OCR_DETECTION, OCR_RECOGNITION)
        alphabet = Alphabet.from_file(self._file(files.OCR_DICTIONARY))
        detector, recognizer = (self._model(network, self._place) for network in (OCR_DETECTION, OCR_RECOGNITION))
        limits = (self._settings.max_text_lines, self._settings.max_text_tiles)
        return TextReader(detector, recognizer, alphabet, self._host, *limits), (detector, recognizer)

    # ------------------------------------------------------------------ files

    def _require(self, place: Place, *networks: Network) -> None:
        """Raises MissingFileError before half a task has been put on a device."""
        for network in networks:
            if self._present(network, place) is None:
                choices = place.engine.files(network)
                if not choices:
                    raise MissingFileError(f"{network.name} has no file for engine {place.engine.name}")
                raise MissingFileError(self._store.remedy(choices[0]))

    def _model(self, network: Network, place: Place, *, interactive: bool = False) -> Model:
        self._require(place, network)
        found = self._present(network, place)
        assert found is not None
        file, path = found
        sha256 = self._store.check(file, path)
        loaded = place.engine.open(path, network)
        provenance = Provenance(path.name, sha256, place.engine.name, file.note)
        return Model(network, loaded, place.arbiter, provenance, interactive, lambda: place.engine.doubt(loaded))

    def _present(self, network: Network, place: Place) -> tuple[ModelFile, Path] | None:
        for file in place.engine.files(network):
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
