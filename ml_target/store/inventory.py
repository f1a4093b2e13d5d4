"""The catalogue compared with the files that are there, as a table. A dozen lines of padding need no library."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml_target.catalogue.needs import Need, whole_catalogue
from ml_target.catalogue.types import DEFAULT_CHIP, Chip, ModelFile
from ml_target.errors import MissingFileError, ModelError
from ml_target.store import Store

State = Literal["verified", "present", "damaged", "missing"]
HEADINGS = ("file", "task", "engine", "state", "size", "sha256", "licence")
SHORT_HASH = 12
LEGEND = """\
verified: matches the published checksum, or the one the HEF carries. present: opens and is what it
was at first use; no checksum is published. optional: the task runs without it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One file of the catalogue. `path` None: not there. `problem`: why it is damaged."""

    need: Need
    file: ModelFile
    state: State
    path: Path | None = None
    sha256: str = ""
    problem: str = ""

    def cells(self) -> tuple[str, ...]:
        """The cells of its table row."""
        size = self.path.stat().st_size if self.path else self.file.size
        length = "" if size is None else f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"
        name = self.file.name if self.path is None else self.path.name
        optional = " (optional)" if self.need.optional else ""
        return (
            name,
            self.need.label,
            self.need.engine,
            self.state + optional,
            length,
            self.sha256[:SHORT_HASH],
            self.file.licence,
        )


def take_stock(store: Store, chip: Chip = DEFAULT_CHIP, *, fresh: bool = False) -> list[Row]:
    """Every file of the catalogue, checked if it is there; `fresh` reads all of them again."""
    return [_row(store, need, fresh) for need in whole_catalogue(chip)]


def table(rows: Iterable[Row]) -> str:
    """The rows in columns, then what is wrong with the damaged files, then the notes."""
    rows = list(rows)
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text += ["", LEGEND]
    text += [f"\ndamaged: {row.problem}" for row in rows if row.problem]
    text += [f"note on {row.file.name}: {row.file.note}" for row in rows if row.file.note and row.path]
    return "\n".join(text)


def _row(store: Store, need: Need, fresh: bool) -> Row:
    (file,) = need.files
    try:
        path = store.sound(file, fresh=fresh)
    except MissingFileError:
        return Row(need, file, "missing")
    except ModelError as error:
        return Row(need, file, "damaged", store.find(file), problem=str(error))
    sha256 = store.check(file, path)
    return Row(need, file, "verified" if file.sha256 or file.chip else "present", path, sha256)
