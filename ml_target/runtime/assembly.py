"""From settings and files to services, at start.

A file that is missing or damaged turns its task off, with the reason. A file that is whole, but not the network that
the catalogue says, stops the worker: somebody meant it to be served.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

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
from ml_target.engines import Engine
from ml_target.errors import DamagedFileError, MissingFileError, ModelError, Unavailable
from ml_target.runtime.registry import ClipService, Service, Services
from ml_target.runtime.shelf import Shelf
from ml_target.scheduling.arbiter import Arbiter
from ml_target.scheduling.model import Model, Provenance
from ml_target.scheduling.threads import HostPool
from ml_target.store import Store, load_text_weights
from ml_target.tasks.clip.encoders import PictureEncoder, TextEncoder
from ml_target.tasks.clip.text_head import TextHead, TextLayout
from ml_target.tasks.clip.text_layouts import LayoutBook
from ml_target.tasks.clip.text_probe import agree, settle
from ml_target.tasks.clip.tokenizer import Tokenizer, open_tokenizer
from ml_target.tasks.faces.finder import FaceFinder
from ml_target.tasks.ocr.ctc import Alphabet
from ml_target.tasks.ocr.reader import TextReader
from ml_target.tensors import Array

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where networks run: an engine, and the arbiter of its device."""

    engine: Engine
    arbiter: Arbiter


class Loader:
    """Opens what the settings ask for, with files from one store. `text`: where search queries run."""

    def __init__(self, settings: Settings, store: Store, host: HostPool, place: Place, text: Place) -> None:
        self._settings = settings
        self._shelf = Shelf(store)
        self._host = host
        self._place = place
        self._text = text
        self._layouts = LayoutBook(store.target)
        self._recognizer = self._choose_recognizer()
        self._to_load: list[str] = []
        self._begun = 0

    def services(self) -> Services:
        """Checks every file, then opens the device, then loads. Raises ModelError for a file of another network."""
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
        """A file of another network stops the worker before any device is touched."""
        tasks: list[tuple[Place, tuple[Network, ...], tuple[ModelFile, ...]]] = [
            *((self._place, (b.visual,), ()) for b in backends),
            *((self._text, (b.textual,), b.vocabulary) for b in backends),
            (self._place, (FACE_DETECTORS[self._settings.face_detector], self._recognizer), ()),
            (self._place, (OCR_DETECTION, OCR_RECOGNITION), (files.OCR_DICTIONARY,)),
        ]
        for place, networks, _ in tasks:
            for network in networks:
                self._shelf.inspect(place.engine, network)
        for place, networks, others in tasks:
            if self._shelf.complete(place.engine, networks, others):
                self._to_load += [network.name for network in networks]

    def _service(self, label: str, load: Callable[[], tuple[T, tuple[Model, ...]]]) -> Service[T]:
        try:
            serves, models = load()
        except MissingFileError as error:
            return Service(label, never=error)
        except (DamagedFileError, Unavailable) as error:
            return Service(label, never=error, broken=True)
        return Service(label, serves, models)

    # ------------------------------------------------------------------ tasks

    def _visual(self, backend: ClipBackend) -> tuple[PictureEncoder, tuple[Model, ...]]:
        model = self._model(backend.visual, self._place)
        resize = "shortest" if backend.family == "clip" else self._settings.siglip_resize
        return PictureEncoder(model, self._host, resize), (model,)

    def _textual(self, backend: ClipBackend) -> tuple[TextEncoder, tuple[Model, ...]]:
        self._require(self._text, backend.textual)
        vocabulary = [self._shelf.file(file).path for file in backend.vocabulary]
        tokenizer = open_tokenizer(backend.family, vocabulary)
        weights, without = self._weights(backend)
        model = self._model(backend.textual, self._text, interactive=True)
        try:
            head = TextHead(backend, weights, self._layout(model, backend, weights, tokenizer))
            encoder = TextEncoder(model, tokenizer, head, self._host)
        except ModelError as error:
            if isinstance(without, DamagedFileError):
                raise without from error
            if without is not None:  # whether they are needed shows only when the tower is open
                raise MissingFileError(error.reason, error.remedy, without.cause) from error
            raise
        if isinstance(without, DamagedFileError):
            log.error("not needed by this text tower, so search queries are served all the same: %s", without)
        return encoder, (model,)

    def _weights(
        self, backend: ClipBackend
    ) -> tuple[Mapping[str, Array] | None, MissingFileError | DamagedFileError | None]:
        """The weights, or why there are none. Raises DamagedFileError for a tower on a card: none does without."""
        try:
            return load_text_weights(self._shelf.file(backend.text_weights).path), None
        except MissingFileError as error:
            return None, error
        except DamagedFileError as error:
            if self._text.engine.name == "hailo":
                raise
            return None, error

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
        from ml_target.engines.onnx import OnnxEngine

        processor = OnnxEngine(threads=1)
        try:
            tower = processor.open(self._shelf.network(processor, backend.textual).path, backend.textual)
        except MissingFileError:
            return
        except DamagedFileError as damage:
            log.error("the card's text vectors are not compared with the processor's: %s", damage)
            return
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
        engine = self._place.engine
        if not self._shelf.has(engine, ARCFACE_R50) and self._shelf.has(engine, STAND_IN_EMBEDDER):
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
        alphabet = Alphabet.from_file(self._shelf.file(files.OCR_DICTIONARY).path)
        detector, recognizer = (self._model(network, self._place) for network in (OCR_DETECTION, OCR_RECOGNITION))
        limits = (self._settings.max_text_lines, self._settings.max_text_tiles)
        return TextReader(detector, recognizer, alphabet, self._host, *limits), (detector, recognizer)

    # ------------------------------------------------------------------ files

    def _require(self, place: Place, *networks: Network) -> None:
        """Raises MissingFileError or DamagedFileError before half a task has been put on a device."""
        for network in networks:
            self._shelf.network(place.engine, network)

    def _model(self, network: Network, place: Place, *, interactive: bool = False) -> Model:
        taken = self._shelf.network(place.engine, network)
        self._say_loading(network)
        loaded = place.engine.open(taken.path, network)
        provenance = Provenance(taken.path.name, taken.sha256, place.engine.name, taken.note)
        return Model(network, loaded, place.arbiter, provenance, interactive, lambda: place.engine.doubt(loaded))

    def _say_loading(self, network: Network) -> None:
        """Loading may take a minute: which network it is at, and how many there are."""
        if network.name in self._to_load:
            self._begun += 1
            log.info("loading %s (%d of %d)", network.name, self._begun, len(self._to_load))
