"""The photos that both workers are asked about: a folder's, or the bundled ones."""

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ml_target.diagnostics.checks.samples import BOARD, LABELS_PAGE, Samples
from ml_target.errors import UnusableInput
from ml_target.tensors import UInt8

ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".webp"))
"""Files that Immich sends: its previews are JPEG or WebP."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture file on disk, or one of the bundled ones in memory."""

    name: str
    path: Path | None = None
    data: bytes = b""

    def read(self) -> bytes:
        """The file's bytes. Raises OSError."""
        return self.data or (self.path.read_bytes() if self.path else b"")


def bundled() -> list[Photo]:
    """The two pictures that `selfcheck` uses, and the parts of the first as pictures of their own."""
    files = [Photo(file.name, data=file.read_bytes()) for file in (BOARD, LABELS_PAGE)]
    parts = Samples.load().parts()
    return files + [
        Photo(f"{name} of {BOARD.name}", data=_png(part)) for name, part in parts.items() if name != "board"
    ]


def in_folder(folder: Path, most: int) -> tuple[list[Photo], int]:
    """At most `most` photos spread evenly over the folder and those below it, and how many there are.

    The same folder always gives the same photos. Raises UnusableInput where there are none.
    """
    remedy = "Name a folder of photos, best of Immich's own previews: those are what a worker sees."
    if not folder.is_dir():
        raise UnusableInput(f"{folder} is not a folder that can be read", remedy)
    found = sorted(_walk(folder))
    if not found:
        raise UnusableInput(f"{folder} has no files that end in {', '.join(sorted(ENDINGS))}", remedy)
    chosen = found if len(found) <= most else [found[n] for n in np.linspace(0, len(found) - 1, most).astype(int)]
    return [Photo(str(path.relative_to(folder)), path) for path in chosen], len(found)


def _walk(folder: Path) -> Sequence[Path]:
    """Links to folders are not followed: they may lead round in circles."""
    return [
        Path(place) / name
        for place, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in ENDINGS
    ]


def _png(picture: UInt8) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "png")
    return out.getvalue()
