"""Opens a text tower with its tokenizer, its weights, and what its file leaves to the host."""

import logging
from collections.abc import Mapping
from contextlib import suppress

from ml_target.catalogue.types import ClipBackend, Network
from ml_target.engines.select import processor, reference_files
from ml_target.errors import DamagedFileError, MissingFileError, ModelError
from ml_target.remedies import command
from ml_target.scheduling.model import Model
from ml_target.store import load_text_weights
from ml_target.tasks.clip.activation import activation_of
from ml_target.tasks.clip.encoders import TextEncoder
from ml_target.tasks.clip.text_head import TextHead, TextLayout
from ml_target.tasks.clip.text_layouts import LayoutCache
from ml_target.tasks.clip.text_probe import find_layout, require_agreement
from ml_target.tasks.clip.tokenizer import Tokenizer, open_tokenizer
from ml_target.tasks.contract import Loading
from ml_target.tensors import Array

log = logging.getLogger(__name__)

Weights = Mapping[str, Array]


def open_text_encoder(backend: ClipBackend, loading: Loading) -> tuple[TextEncoder, tuple[Model, ...]]:
    """The encoder and its model. Raises MissingFileError, DamagedFileError, ModelError."""
    tokenizer = open_tokenizer(backend.family, [loading.file(file) for file in backend.vocabulary])
    weights, without = _weights(backend, loading)
    model = loading.model(backend.textual, interactive=True)
    try:
        head = TextHead(backend, weights, _layout(model, backend, weights, tokenizer, loading))
        encoder = TextEncoder(model, tokenizer, head, loading.pool)
    except ModelError as error:
        if isinstance(without, DamagedFileError):
            raise without from error
        if without is not None:  # only the opened tower shows whether they are needed
            raise MissingFileError(error.reason, error.remedy, without.cause) from error
        raise
    if isinstance(without, DamagedFileError):
        log.error("not needed by this text tower, so search queries are served all the same: %s", without)
    _say_other_activation(backend, loading)
    return encoder, (model,)


def _say_other_activation(backend: ClipBackend, loading: Loading) -> None:
    """Warns where the backend's two towers, which may run on two engines, do not compute the same activation.

    Also where the card's picture tower and Immich's own file do not, if that is there.
    """
    measures = command("compare URL PHOTOS")
    with suppress(MissingFileError, DamagedFileError):  # that tower is off, and says so
        towers = (backend.visual, backend.textual)
        engines = [loading.engine(tower) for tower in towers]
        files = [loading.network_file(*each) for each in zip(towers, engines, strict=True)]
        visual, textual = (
            backend.hef_activation if engine.capabilities.compiled else activation_of(file)
            for engine, file in zip(engines, files, strict=True)
        )
        if visual and textual and visual != textual:
            log.warning(
                "%s: the picture tower (%s) computes %s and the text tower (%s) %s, so searches may rank worse than "
                "with two of one kind; `%s` measures it against another worker",
                *(backend.name, files[0].name, visual, files[1].name, textual, measures),
            )
        if not engines[0].capabilities.compiled or not visual:
            return
        immich = loading.file(backend.visual.onnx[0])  # not served, and mostly not there
        if (theirs := activation_of(immich)) and theirs != visual:
            log.warning(
                "%s: the picture tower (%s) computes %s and Immich's own (%s) %s, so its vectors may be too far from "
                "those of a library that Immich's worker has indexed; `%s` measures it against that worker",
                *(backend.name, files[0].name, visual, immich.name, theirs, measures),
            )


def _weights(
    backend: ClipBackend, loading: Loading
) -> tuple[Weights | None, MissingFileError | DamagedFileError | None]:
    """The weights, or why there are none. Raises DamagedFileError for a tower on a card, which always needs them."""
    try:
        return load_text_weights(loading.file(backend.text_weights)), None
    except MissingFileError as error:
        return None, error
    except DamagedFileError as error:
        if loading.engine(backend.textual).capabilities.text_layout:
            raise
        return None, error


def _layout(
    model: Model, backend: ClipBackend, weights: Weights | None, tokenizer: Tokenizer, loading: Loading
) -> TextLayout:
    """What a tower on the card leaves to the host: found out once, kept with the file's hash."""
    if weights is None or not loading.engine(backend.textual).capabilities.text_layout:
        return TextLayout()
    book, sha256 = LayoutCache(loading.folder), model.provenance.sha256
    layout = book.get(sha256)
    if layout is None:
        TextHead(backend, weights).check(model.intake, model.loaded.roles, tokenizer.size)
        layout = find_layout(lambda frame: model.loaded.run([frame])[0], model.intake, backend, weights, tokenizer)
        _confirm(model, TextHead(backend, weights, layout), TextHead(backend, weights), tokenizer, loading)
        book.keep(sha256, layout)
    log.info("%s on the card: %s", backend.textual.name, layout)
    return layout


def _confirm(model: Model, head: TextHead, plain: TextHead, tokenizer: Tokenizer, loading: Loading) -> None:
    """Compares the card's text vectors with the processor's, where the processor's file is there.

    `plain`: the head of a tower that leaves nothing to the host.
    """
    if not _has_reference(model.network, loading):
        return
    reference = processor(loading.settings, 1)
    try:
        tower = reference.open(loading.network_file(model.network, reference), model.network)
    except DamagedFileError as damage:
        log.error("the card's text vectors are not compared with the processor's: %s", damage)
        return
    plain.check(tower.intake, tower.roles, tokenizer.size)
    require_agreement((model.loaded, head), (tower, plain), tokenizer)


def _has_reference(network: Network, loading: Loading) -> bool:
    """Whether there is a file to compare with, intact or not: ONNX Runtime takes 19 MB, which a card does without."""
    for file in reference_files(network):
        try:
            loading.file(file)
        except MissingFileError:
            continue
        except DamagedFileError:
            pass
        return True
    return False
