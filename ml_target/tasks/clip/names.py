"""Which backend answers for the name of a CLIP model."""

from collections.abc import Sequence

from ml_target.catalogue.immich import WIDTHS, clean_name
from ml_target.catalogue.types import ClipBackend
from ml_target.errors import UnusableInput
from ml_target.log.words import short


def backend_for(model_name: str, served: Sequence[ClipBackend]) -> ClipBackend:
    """The backend of those `served`, the default first, that answers for an Immich model name.

    Raises UnusableInput when the name's known width differs from the vectors served: Immich's
    column has the width of that name, so it would fail to store them.
    """
    name = clean_name(model_name)
    width = WIDTHS.get(name)
    named = [b for b in served if clean_name(b.immich_name) == name]
    narrow = [b for b in served if b.width == width and b.borrows_name]
    chosen = (named or narrow or served)[0]
    if width is not None and width != chosen.width:
        names = " or ".join(f"{b.immich_name} ({b.name})" for b in served)
        raise UnusableInput(
            f"Immich asks for {short(name)}, whose vectors have {width} numbers; this worker serves "
            f"{chosen.name} with {chosen.width}",
            f"Choose {names} in Immich's smart search settings, or start the worker with another CLIP_BACKEND.",
        )
    return chosen
