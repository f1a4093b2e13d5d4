"""The model names Immich asked for, and what answered in their place: announced once each, or refused."""

import logging
from typing import Any

from ml_target.catalogue.immich import clean_name
from ml_target.catalogue.networks import OCR_IMMICH_NAME
from ml_target.catalogue.scripts import LANGUAGES, MODELS, Reading
from ml_target.errors import UnusableInput
from ml_target.log.words import quoted, short

log = logging.getLogger(__name__)

MOST = 100
"""Names are free text from outside; beyond so many, further ones are neither kept nor announced."""


def text_model(asked: str) -> str:
    """The name of the text model that answers for the name `asked`.

    Raises UnusableInput for one that reads another script: what the served network does not know it answers with
    look-alikes at high scores. A name without a language that nobody knows is answered, and announced.
    """
    language, separator, model = clean_name(asked).rpartition("__")
    if not separator:
        reading = MODELS.get(model)
    elif (reading := LANGUAGES.get(language.upper())) is None:
        raise UnusableInput(f"Immich asks for {short(asked)}, a text model for a language not known here", _INSTEAD)
    elif not reading.lacks:
        reading = MODELS.get(model)
    if reading is not None and reading.lacks:
        raise UnusableInput(_other_script(asked, reading))
    return OCR_IMMICH_NAME


_INSTEAD = (
    f"Choose {OCR_IMMICH_NAME} in Immich's OCR settings, which reads Chinese, Japanese and English, "
    "or leave text to Immich's own worker."
)


def _other_script(asked: str, reading: Reading) -> str:
    letters = " ".join(reading.lacks[:8])
    return (
        f"Immich asks for {short(asked)}, which reads {reading.words}; this worker serves {OCR_IMMICH_NAME}, "
        f"which lacks letters of these ({letters} and more) and would answer with look-alikes. {_INSTEAD}"
    )


class NamesSeen:
    """Filled on the event loop's thread."""

    def __init__(self) -> None:
        self._served: dict[tuple[str, str], str] = {}

    def note(self, task: str, asked: str, served_by: str) -> None:
        """Says it in the log at the first request for a name that is not the served model's own."""
        key = (task, asked[:200])
        if key in self._served or len(self._served) >= MOST:
            return
        self._served[key] = served_by
        if asked != served_by:
            log.warning(
                "Immich asks for %s as %s; it is answered by %s. Keep one worker for the whole library.",
                quoted(key[1]),
                task,
                served_by,
            )

    def describe(self) -> list[dict[str, Any]]:
        return [{"task": task, "asked": asked, "served_by": by} for (task, asked), by in self._served.items()]
