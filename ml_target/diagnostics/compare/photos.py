"""The photos that both workers are asked about: a folder's, or the bundled ones."""

import errno
import io
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

import numpy as np
from PIL import Image

from ml_target.diagnostics.checks.samples import BOARD, LABELS_PAGE, Samples
from ml_target.errors import UnusableInput
from ml_target.tensors import UInt8

log = logging.getLogger(__name__)

ENDINGS = (".jpeg", ".jpg", ".png", ".webp")
"""Files that Immich sends: its previews are JPEG or WebP."""

PREVIEW = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}[-_]preview(_edited)?\.", re.IGNORECASE)
"""What Immich calls the pictures that it sends to a worker: the photo's number and this (getImagePath in the server's
storage.core.ts). Beside them in upload/thumbs are smaller and larger ones of the same photos, and those of people."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture file on disk, or one of the bundled ones in memory."""

    name: str
    path: Path | None = None
    data: bytes = b""

    def read(self) -> bytes:
        """The file's bytes. Raises OSError."""
        if self.path is None:
            return self.data
        if not S_ISREG(self.path.stat().st_mode):  # to read from a pipe would never end
            raise OSError(errno.EINVAL, "it is no ordinary file")
        return self.path.read_bytes()


def bundled() -> list[Photo]:
    """The two pictures that `selfcheck` uses, and the parts of the first as pictures of their own."""
    files = [Photo(file.name, data=file.read_bytes()) for file in (BOARD, LABELS_PAGE)]
    parts = Samples.load().parts()
    return files + [
        Photo(f"{name} of {BOARD.name}", data=_png(part)) for name, part in parts.items() if name != "board"
    ]


def in_folder(folder: Path, most: int) -> tuple[list[Photo], int]:
    """At most `most` photos spread evenly over the folder and those below it, and how many there are.

    Where Immich's previews are among them, only these. The same folder always gives the same photos. Logs which folders
    below it cannot be read. Raises UnusableInput where there are no photos.
    """
    remedy = "Name a folder of photos, best of Immich's own previews: those are what a worker sees."
    if not folder.is_dir():
        raise UnusableInput(f"{folder} is not a folder that can be read", remedy)
    closed: list[OSError] = []
    found = sorted(_walk(folder, closed))
    if closed:
        words = f"{len(closed):,} folders in {folder} cannot be read, such as {closed[0].filename}"
        if not found:
            raise UnusableInput(
                f"{words} ({closed[0].strerror})", "Run this as a user who may; in a container, with --user."
            )
        log.warning("%s (%s): what is in them is left out", words, closed[0].strerror)
    if not found:
        raise UnusableInput(
            f"{folder} has no files that end in {', '.join(ENDINGS)} (links to folders are not followed)",
            remedy,
        )
    chosen = found if len(found) <= most else [found[n] for n in np.linspace(0, len(found) - 1, most).astype(int)]
    return [Photo(name, folder / name) for name in chosen], len(found)


def _walk(folder: Path, closed: list[OSError]) -> list[str]:
    """Names below the folder. Links to folders are not followed: they may lead round in circles."""
    found: list[str] = []
    previews: list[str] = []
    for place, _, names in os.walk(folder, onerror=closed.append):
        below = Path(place).relative_to(folder).as_posix()
        for name in names:
            if name.lower().endswith(ENDINGS):
                (previews if PREVIEW.match(name) else found).append(name if below == "." else f"{below}/{name}")
    return previews or found


def _png(picture: UInt8) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "png")
    return out.getvalue()
