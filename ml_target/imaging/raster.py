"""Pillow's part: a file decoded and converted to RGB, into memory that the caller gives.

The same code runs in the worker and in its helper process, so a picture has the same pixels either way.
"""

import mmap
import traceback
from contextlib import suppress
from importlib import import_module
from typing import BinaryIO

from PIL import Image

from ml_target.errors import Unavailable, UnusableInput, WorkerError
from ml_target.imaging.source import damaged, not_a_picture
from ml_target.imaging.structure import PIXEL

Image.init()  # Pillow registers most of its formats only when asked
# Our own limit is checked before decoding; Pillow's would only warn, or refuse below our setting.
Image.MAX_IMAGE_PIXELS = None
with suppress(ImportError, AttributeError):  # Pillow before 11.3 has no AVIF
    # One thread: more would take memory that nobody counted, and the processors of others.
    import_module("PIL.AvifImagePlugin").DEFAULT_MAX_THREADS = 1  # type: ignore[attr-defined]

BAND = 2**18
"""Pixels converted at a time: no more than these exist twice."""

_SIXTEEN_BIT = {"I;16": 1, "I;16L": 1, "I;16N": 1, "I;16B": 0}
"""Grey modes of two bytes, and which byte is the high one."""

_MEMORY = "out of memory"
"""Pillow's message for a codec that got none; it raises OSError then."""

_DECODERS = ("_decoder", "png", "fp")
"""What Pillow's pictures keep of their files: as much as twice the picture, for later frames that nobody asks for."""


def read(stream: BinaryIO, format: str, room: memoryview, cost: int) -> tuple[int, int]:
    """Decodes the first frame into `room`, H x W x 3 RGB uint8, and returns height and width.

    `cost`: the memory that it should take at most. Raises UnusableInput for a damaged picture or for one
    larger than `room`, Unavailable where there is not enough memory: then the picture is not to blame.
    """
    opened: Image.Image | WorkerError | None = None
    trouble: WorkerError | None = None
    try:
        opened = _opened(stream, format, cost)
        if isinstance(opened, WorkerError):
            raise opened
        size = (opened.height, opened.width)
        trouble = _decoded(opened, room, cost)
        if trouble is not None:
            raise trouble
        return size
    finally:
        # An error that is kept keeps this frame: it must hold no pixels, and not the error either.
        del opened, trouble, room


def memory_for(amount: int) -> bool:
    """Whether the system grants `amount` bytes to this process now; none of it is touched."""
    try:
        mmap.mmap(-1, max(1, amount)).close()
    except (OSError, MemoryError):
        return False
    return True


def _opened(stream: BinaryIO, format: str, cost: int) -> Image.Image | WorkerError:
    """The picture, its header read, or why not."""
    try:
        return Image.open(stream, formats=(format,))
    except Exception as error:  # decoders raise errors of any type
        words, memory = _understood(error)
    return _no_memory(words) if memory or not memory_for(cost) else not_a_picture(words)


def _decoded(image: Image.Image, room: memoryview, cost: int) -> WorkerError | None:
    """Fills `room` and closes the picture; what went wrong, if anything did."""
    if image.width * image.height * PIXEL > len(room):
        _close(image)
        return damaged(f"its data are of {image.width} x {image.height} pixels, its header says fewer")
    try:
        image.load()
        if image.mode in ("I", "F"):
            return UnusableInput("The picture has 32-bit pixels of unknown range", "Convert it to 8 bits a channel.")
        _drop_decoder(image)
        _to_rgb(image, room)
        return None
    except Exception as error:  # as above
        words, memory = _understood(error)
    finally:
        _close(image)
    return _no_memory(words) if memory or not memory_for(cost) else damaged(words)


def _no_memory(words: str) -> Unavailable:
    return Unavailable(
        f"The machine has no memory left to decode this picture ({words})",
        "Send it again later; if this happens again, "
        "give the worker more memory, or lower MEMORY_MB so that less is done at a time.",
    )


def _to_rgb(image: Image.Image, room: memoryview) -> None:
    """Band by band: a whole picture in two modes would take twice the memory."""
    if image.mode == "P":
        image.info.pop("transparency", None)  # alpha is dropped, and Pillow would warn about it
    width, height = image.size
    columns = min(width, BAND)
    rows = max(1, BAND // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        for left in range(0, width, columns):  # more than one only where a band is less than a row
            right = min(width, left + columns)
            start = (top * width + left) * PIXEL
            piece = _piece(image, (left, top, right, bottom))
            room[start : start + len(piece)] = piece


def _piece(image: Image.Image, box: tuple[int, int, int, int]) -> bytes:
    band = image.crop(box)
    upper = _SIXTEEN_BIT.get(band.mode)
    if upper is not None:
        # Pillow clips 16-bit greys to white; the picture is in the upper byte.
        band = Image.frombytes("L", band.size, band.tobytes()[upper::2])
    return (band if band.mode == "RGB" else band.convert("RGB")).tobytes()


def _drop_decoder(image: Image.Image) -> None:
    for name in _DECODERS:
        if getattr(image, name, None) is not None:
            setattr(image, name, None)


def _close(image: Image.Image) -> None:
    _drop_decoder(image)
    image.close()


def _understood(error: BaseException | None) -> tuple[str, bool]:
    """An error's message, and whether memory ran out. Frees what its frames hold.

    They hold pictures of hundreds of megabytes, and would until the garbage collector runs.
    """
    # Pillow names the file object by its address in memory, which helps nobody.
    words = str(error).split(" <")[0] or type(error).__name__
    memory = isinstance(error, MemoryError) or _MEMORY in words
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
    return words, memory
