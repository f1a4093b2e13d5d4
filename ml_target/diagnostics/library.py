"""`python3 -m ml_target.diagnostics.library ANSWER`: which settings keep what Immich's own worker has indexed.

It needs only Python itself: setup.sh asks the question and hands the answer over. ENGINE says whether there is a card.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import wrap

from ml_target.catalogue.immich import IMMICH_DEFAULT, WIDTHS, clean_name
from ml_target.catalogue.needs import EngineName, runs_itself
from ml_target.catalogue.networks import BUFFALO_RECOGNIZER, CLIP_BACKENDS, FACE_DETECTORS, FACES_IMMICH_NAME
from ml_target.catalogue.types import CHIPS, Chip
from ml_target.config import Settings, planned_engine, setting_names
from ml_target.diagnostics.names import WIDTH, faster
from ml_target.errors import SettingsError
from ml_target.log.terminal import replace_unprintable
from ml_target.log.words import quoted, short

NEW, DEFAULT = ("", "n", "no"), ("y", "yes")
"""Answers: there is no such library; Immich's default model has indexed it. Any other is the name of a model."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """`settings` by name, and in `words` what comes of them."""

    settings: Mapping[str, str]
    words: tuple[str, ...]


def propose(answer: str, engine: EngineName, chip: Chip | None = None) -> Proposal:
    """The settings for a library. `chip`: the card's. Raises SettingsError for a name that Immich does not know."""
    given = clean_name(answer)
    if given.lower() in NEW:
        usual = Settings().clip_backend
        said = faster(usual, chip) if chip else ""
        return Proposal({"CLIP_BACKEND": usual}, tuple(wrap(said, WIDTH, break_on_hyphens=False)))
    name = IMMICH_DEFAULT if given.lower() in DEFAULT else given
    if name not in WIDTHS:
        raise SettingsError(
            f"Immich knows no CLIP model {quoted(short(name))}",
            "Copy the name from Immich (Administration > Settings > Machine Learning Settings > Smart Search).",
        )
    backend = next(
        (b for b in CLIP_BACKENDS.values() if clean_name(b.immich_name) == name and not b.borrows_name), None
    )
    settings = {"CLIP_BACKEND": backend.name if backend else Settings().clip_backend, **_faces(engine)}
    if backend is None:
        words = [
            f"No backend here has the vectors of {name}: Smart Search has to run again for all photos.",
            "People can stay all the same, where the model for faces was buffalo_l, Immich's default.",
        ]
    else:
        words = [
            f"These are the models of {name} and of buffalo_l: searches can stay, and people where that was the model",
            "for faces (Immich's default). Whether they do, compare measures on your photos: docs/changing.md.",
        ]
        if backend.resize_by_setting:
            words.append("Where Immich was 3.2 or older when it indexed, SIGLIP_RESIZE=shortest is needed, too.")
    return Proposal(settings, tuple(words))


def question(environment: Mapping[str, str], engine: EngineName) -> str:
    """What the log says at the start where no backend is named; "" where one is, as it is wherever setup.sh has asked.

    Before `./setup.sh serve` it asks on a terminal alone, and nobody does where a container is started by hand.
    """
    if any(environment.get(name, "").strip() for name in setting_names("clip_backend")):
        return ""
    usual, kept = Settings().clip_backend, propose(DEFAULT[0], engine).settings
    settings = " ".join(f"{name}={value}" for name, value in kept.items())
    return (
        f"CLIP_BACKEND is not set, so this starts as for a new library. If Immich's own worker has indexed yours, "
        f"{settings} can keep searches and people (docs/changing.md). If not, CLIP_BACKEND={usual} says so for good."
    )


def _faces(engine: EngineName) -> dict[str, str]:
    """Immich's recogniser, and Immich's own detector; where the engine has no file of that, the one beside it."""
    own = FACE_DETECTORS[FACES_IMMICH_NAME]
    detector = own if runs_itself(own, engine) else BUFFALO_RECOGNIZER.goes_with or own
    return {"FACE_RECOGNIZER": BUFFALO_RECOGNIZER.choice, "FACE_DETECTOR": detector.choice}


def main(arguments: list[str] | None = None) -> int:
    """Prints the settings in one line, then what comes of them. Exit code 1: Immich knows no such model."""
    replace_unprintable()
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("answer", metavar="ANSWER", nargs="?", default="", help="y, n, or the CLIP model of Immich")
    parser.add_argument("--chip", choices=CHIPS, help="the card's, where there is one")
    asked = parser.parse_args(arguments)
    try:
        proposal = propose(asked.answer, planned_engine(os.environ), asked.chip)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    print(" ".join(f"{name}={value}" for name, value in proposal.settings.items()), *proposal.words, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
