"""Which files a choice of settings needs, as a plain list."""

from collections.abc import Callable

from ml_target.catalogue.needs import Choice, EngineName, needs
from ml_target.catalogue.types import DEFAULT_CHIP, Chip, ModelFile


def needed_files(
    settings: Choice,
    engine: EngineName,
    chip: Chip = DEFAULT_CHIP,
    present: Callable[[ModelFile], bool] = lambda file: False,
) -> list[tuple[str, ModelFile]]:
    """Task and file for all that must be there: the alternative that is `present`, else the first choice."""
    return [
        (need.label, next(filter(present, need.files), need.files[0]))
        for need in needs(settings, engine, chip)
        if not need.optional
    ]
