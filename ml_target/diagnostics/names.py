"""`python3 -m ml_target.diagnostics.names`: what to choose in Immich for the models that the environment names.

It needs only Python itself: setup.sh prints it at the end, on the host or inside the image.
"""

import sys

from ml_target.catalogue.networks import AUTO, CLIP_BACKENDS, PPOCRV5_MOBILE, TEXT_MODELS, backend_names
from ml_target.config import Settings
from ml_target.errors import SettingsError
from ml_target.log.terminal import replace_unprintable


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
        found.append(f"            {who}: let no other worker, Immich's own neither, serve this library.")
    return found


def text_lines(models: str) -> list[str]:
    """`models`: a value of OCR_MODEL. Nothing for the default, whose name is Immich's default."""
    if models == PPOCRV5_MOBILE.name:
        return []
    if models == AUTO:
        return ["OCR model   the name of a model whose files are there: /status lists them"]
    names = " or ".join(TEXT_MODELS[name].immich_name for name in models.split(","))
    return [f"OCR model   {names}"]


def main() -> int:
    """Prints the lines. Exit code 1 when a setting is wrong."""
    replace_unprintable()
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(lines(settings.clip_backend) + text_lines(settings.ocr_model)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
