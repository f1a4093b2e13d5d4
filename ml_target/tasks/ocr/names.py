"""Which text model answers for the name of one that Immich asks for."""

from collections.abc import Sequence

from ml_target.catalogue.immich import clean_name
from ml_target.catalogue.networks import TEXT_MODELS
from ml_target.catalogue.scripts import LANGUAGES, Reading
from ml_target.catalogue.types import TextModel
from ml_target.errors import UnusableInput
from ml_target.log.words import short


def text_model(asked: str, served: Sequence[TextModel]) -> TextModel:
    """The model of those `served` that answers for the name `asked`: the one of that name, or the only one.

    Raises UnusableInput for one that reads another script: a network answers letters that it does not know with
    look-alikes at high scores. Raises it also for the name of a model that is known and not served, and for an unknown
    name where several are served. Where one is, it answers for unknown names without a language, which is logged.
    """
    language, separator, model = clean_name(asked).rpartition("__")
    if separator:
        reading = LANGUAGES.get(language.upper())
        if reading is None:
            raise UnusableInput(
                f"Immich asks for {short(asked)}, a text model for a language not known here", _instead(served)
            )
        if reading.lacks:
            raise UnusableInput(_other_script(asked, reading, served), _instead(served, reading))
    known = next((each for each in TEXT_MODELS.values() if model in each.names), None)
    if known in served or (known is None and len(served) == 1):
        return known or served[0]
    if known is None:
        raise UnusableInput(
            f"Immich asks for {short(asked)}, and this worker serves {len(served)} text models that it could mean",
            f"Choose {_names(served)} in Immich's OCR settings, or start the worker with one OCR_MODEL.",
        )
    raise UnusableInput(
        f"Immich asks for {short(asked)}, which reads {known.reads}; this worker serves {_names(served, ' and ')}",
        f"Choose {_names(served)} in Immich's OCR settings, or start the worker with OCR_MODEL={known.name}.",
    )


def _names(served: Sequence[TextModel], joint: str = " or ") -> str:
    return joint.join(each.immich_name for each in served)


def _instead(served: Sequence[TextModel], reading: Reading | None = None) -> str:
    """What to choose. `reading`: of the model asked for."""
    choices = ", or ".join(f"{each.immich_name} in Immich's OCR settings, which reads {each.reads}" for each in served)
    nearest = TEXT_MODELS.get(reading.nearest) if reading else None
    if nearest and nearest not in served:
        choices += (
            f", or start the worker with OCR_MODEL={nearest.name} and choose {nearest.immich_name}, "
            f"which reads {nearest.reads}"
        )
    return f"Choose {choices}, or leave text to Immich's own worker."


def _other_script(asked: str, reading: Reading, served: Sequence[TextModel]) -> str:
    nearest = any(each.name == reading.nearest for each in served)
    letters = " ".join((reading.lacks if nearest else reading.others_lack or reading.lacks)[:8])
    return (
        f"Immich asks for {short(asked)}, which reads {reading.words}; this worker serves {_names(served, ' and ')}, "
        f"which lacks letters of these ({letters} and more) and would answer with look-alikes"
    )
