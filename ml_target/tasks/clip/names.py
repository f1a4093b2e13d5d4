"""Which backend answers for the name of a CLIP model."""

from collections.abc import Sequence

from ml_target.catalogue.immich import WIDTHS, clean_name
from ml_target.catalogue.networks import CLIP_BACKENDS
from ml_target.catalogue.types import ClipBackend
from ml_target.errors import UnusableInput
from ml_target.log.words import short


def backend_for(model_name: str, served: Sequence[ClipBackend]) -> ClipBackend:
    """The backend of those `served` that answers for an Immich model name: the one of that name, or the only one.

    Raises UnusableInput when the name's known width differs from the vectors served: Immich's
    column has the width of that name, so it would fail to store them. Raises it also where several could be meant, as
    with a name that Immich is not known to have.
    """
    name = clean_name(model_name)
    width = WIDTHS.get(name)
    named = [b for b in served if clean_name(b.immich_name) == name]
    wide = [b for b in served if width in (b.width, None)]
    borrowing = [b for b in wide if b.borrows_name and width]  # its vectors have no name of their own
    names = " or ".join(f"{b.immich_name} ({b.name})" for b in served)
    if named or len(borrowing) == 1 or len(wide) == 1:
        return (named or borrowing or wide)[0]
    if wide:
        raise UnusableInput(
            f"Immich asks for {short(name)}, and this worker serves {len(wide)} models that it could mean",
            _remedy(name, names),
        )
    raise UnusableInput(
        f"Immich asks for {short(name)}, whose vectors have {width} numbers; this worker serves "
        f"{served[0].name} with {served[0].width}",
        _remedy(name, names),
    )


def _remedy(name: str, choices: str) -> str:
    """What costs nothing before what deletes the vectors that Immich has. `choices`: the names served, in words."""
    own = [f"CLIP_BACKEND={b.name}" for b in CLIP_BACKENDS.values() if clean_name(b.immich_name) == name]
    if not own:
        other = "or leave search to the worker that has indexed the library"
        return f"Choose {choices} in Immich's smart search settings, which deletes all search vectors, {other}."
    which = f"{' or '.join(own)}, whichever has indexed the library" if len(own) > 1 else own[0]
    return f"Start the worker with {which}; to choose {choices} in Immich instead deletes all search vectors."
