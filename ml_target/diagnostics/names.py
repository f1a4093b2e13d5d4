"""`python3 -m ml_target.diagnostics.names [--chip CHIP]`: what to choose in Immich for the environment's models.

It needs only Python itself: setup.sh prints it at the end, on the host or inside the image.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from textwrap import wrap

from ml_target.catalogue.networks import (
    AUTO,
    CLIP_BACKENDS,
    PPOCRV5_MOBILE,
    TEXT_MODELS,
    backend_names,
    for_new_libraries,
)
from ml_target.catalogue.types import CHIPS, Chip
from ml_target.config import Settings
from ml_target.errors import SettingsError
from ml_target.log.terminal import replace_unprintable

WIDTH, INDENT = 100, 12
CLEARLY = 1.2
"""A backend is called faster from this ratio of Hailo's figures on."""


def lines(backends: str) -> list[str]:
    """`backends`: a value of CLIP_BACKEND."""
    if backends == AUTO:
        return ["CLIP model  the name of a backend whose files are there: /status lists them"]
    names = backend_names(backends)
    if len(names) > 1:
        *others, last = (CLIP_BACKENDS[name].immich_name for name in names)
        return [f"CLIP model  {', '.join(others)} or {last}: the name decides"]
    chosen = CLIP_BACKENDS[names[0]]
    found = [f"CLIP model  {chosen.immich_name}  ({chosen.width} numbers)"]
    if chosen.borrows_name:
        who = f"{chosen.name} hides behind this name"
        found += _indented(f"{who}: let no other worker, not even Immich's own, serve this library.")
        found += _indented(for_new_libraries(chosen))
    return found


def text_lines(models: str) -> list[str]:
    """`models`: a value of OCR_MODEL. Nothing for the default, whose name is Immich's default."""
    if models == PPOCRV5_MOBILE.name:
        return []
    if models == AUTO:
        return ["OCR model   the name of a model whose files are there: /status lists them"]
    names = " or ".join(TEXT_MODELS[name].immich_name for name in models.split(","))
    return [f"OCR model   {names}"]


def faster(backends: str, chip: Chip) -> str:
    """What to know where another backend than these is clearly faster on this chip; "" otherwise.

    The first chip is fast enough with any.
    """
    if backends == AUTO or chip == CHIPS[0]:
        return ""
    speeds = {name: b.pictures_a_second[chip] for name, b in CLIP_BACKENDS.items() if chip in b.pictures_a_second}
    best, most = max(speeds.items(), key=lambda each: each[1])
    slower = [f"{name} {speeds[name]}" for name in backend_names(backends) if speeds.get(name, most) * CLEARLY < most]
    if not slower:
        return ""
    said = f"On this card ({chip}) {best} is faster: {most} pictures a second by Hailo's figures, {', '.join(slower)}."
    return f"{said} A later change costs Smart Search for all photos: CLIP_BACKEND={best} ./setup.sh"


def _indented(words: str) -> list[str]:
    blank = " " * INDENT
    return wrap(words, WIDTH, initial_indent=blank, subsequent_indent=blank, break_on_hyphens=False)


def main(arguments: list[str] | None = None) -> int:
    """Prints the lines. Exit code 1 when a setting is wrong."""
    replace_unprintable()
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--chip", choices=CHIPS, help="the card's, where there is one")
    asked = parser.parse_args(arguments)
    try:
        found = told(os.environ, asked.chip)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(found))
    return 0


def told(environment: Mapping[str, str], chip: Chip | None = None) -> list[str]:
    """The lines for these settings. `chip`: the card's. Raises SettingsError."""
    settings = Settings.from_environment(environment)
    backends = settings.clip_backend
    found = lines(backends) + text_lines(settings.ocr_model)
    return found + (_indented(faster(backends, chip)) if chip else [])


if __name__ == "__main__":
    sys.exit(main())
