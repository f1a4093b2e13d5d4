"""Where the alphabet of a text recogniser comes from: a dictionary beside it, or its own ONNX file."""

import mmap
from pathlib import Path

from ml_target.catalogue.types import Network, StepSequence
from ml_target.errors import ModelError
from ml_target.hef.protobuf import walk
from ml_target.remedies import damaged
from ml_target.tasks.contract import Loading
from ml_target.tasks.ocr.ctc import Alphabet

CHARACTERS = b"character"
"""Under this key PaddleOCR's exports to ONNX carry the list of characters, one a line."""

# Field numbers of onnx.proto: ModelProto.metadata_props; StringStringEntryProto.key, .value.
_METADATA, _KEY, _VALUE = 14, 1, 2


def alphabet_of(recognizer: Network, loading: Loading) -> Alphabet:
    """What the classes of a recogniser stand for.

    Raises MissingFileError, DamagedFileError, and ModelError for the list of another network.
    """
    (classes,) = (each.classes for each in recognizer.forms[0] if isinstance(each, StepSequence))
    if recognizer.companions:
        (dictionary,) = recognizer.companions
        return Alphabet.from_file(loading.file(dictionary), classes)
    file = loading.network_file(recognizer, loading.engine(recognizer))
    return Alphabet.from_bytes(characters_in(file), classes, f"{file.name}'s list of characters")


def characters_in(file: Path) -> bytes:
    """The list of characters that an ONNX file carries, UTF-8, one a line.

    Raises DamagedFileError for a file that cannot be read, ModelError for one that carries none.
    """
    try:
        with file.open("rb") as stream:
            # Not closed by hand: after an error views of it are still alive; it goes with the last of them.
            found = _characters(memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)))
    except (OSError, ValueError) as error:
        raise damaged(f"{file.name} cannot be read ({error})") from error
    if found is None:
        raise ModelError(
            f"{file.name} carries no list of characters, so what its classes stand for is unknown",
            "It is an export of another kind: replace it with the catalogue's file.",
        )
    return found


def _characters(model: memoryview) -> bytes | None:
    for number, entry in walk(model):
        if number == _METADATA and isinstance(entry, memoryview):
            fields = {part: bytes(value) for part, value in walk(entry) if isinstance(value, memoryview)}
            if fields.get(_KEY) == CHARACTERS:
                return fields.get(_VALUE, b"")
    return None
