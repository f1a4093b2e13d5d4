"""The names of text models that Immich may ask for, and which of them the served one answers for."""

from ml_target.catalogue.immich import clean_name
from ml_target.catalogue.networks import OCR_IMMICH_NAME
from ml_target.catalogue.scripts import LANGUAGES, MODELS, Reading
from ml_target.errors import UnusableInput
from ml_target.log.words import short


def text_model(asked: str) -> str:
    """The name of the text model that answers for the name `asked`.

    Raises UnusableInput for one that reads another script: the served network would answer letters that it does not
    know with look-alikes at high scores. An unknown name without a language is answered, and logged.
    """
    language, separator, model = clean_name(asked).rpartition("__")
    if not separator:
        reading = MODELS.get(model)
    elif (reading := LANGUAGES.get(language.upper())) is None:
        raise UnusableInput(f"Immich asks for {short(asked)}, a text model for a language not known here", _INSTEAD)
    elif not reading.lacks:
        reading = MODELS.get(model)
    if reading is not None and reading.lacks:
        raise UnusableInput(_other_script(asked, reading), _INSTEAD)
    return OCR_IMMICH_NAME


_INSTEAD = (
    f"Choose {OCR_IMMICH_NAME} in Immich's OCR settings, which reads Chinese, Japanese and English, "
    "or leave text to Immich's own worker."
)


def _other_script(asked: str, reading: Reading) -> str:
    letters = " ".join(reading.lacks[:8])
    return (
        f"Immich asks for {short(asked)}, which reads {reading.words}; this worker serves {OCR_IMMICH_NAME}, "
        f"which lacks letters of these ({letters} and more) and would answer with look-alikes"
    )
