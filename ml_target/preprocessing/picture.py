"""Bytes to pixels, as Immich's official worker decodes them: Pillow, full size, converted to RGB.

EXIF orientation and colour profiles are ignored on purpose: boxes and sizes are those of the
stored raster, and the official worker does not colour-manage. Files are hostile until decoded.
"""

import io
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image

from ml_target.errors import TooLarge, UnusableInput
from ml_target.tensors import UInt8

# Everything Pillow decodes by itself. Left out are formats that start other programs (EPS) or
# hold no raster of their own (WMF, PDF), and those that decode before they are asked to (ICO).
_WANTED = ("JPEG", "WEBP", "PNG", "AVIF", "GIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM", "TGA", "PCX")
Image.init()  # Pillow registers most of its formats only when asked
FORMATS = tuple(name for name in _WANTED if name in Image.OPEN)

# Our own limit is checked before decoding; Pillow's would only warn, or refuse below our setting.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class OpenedPicture:
    """A picture whose header has been read and whose pixels have not."""

    image: Image.Image
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def decode(self) -> UInt8:
        """The first frame, H x W x 3 RGB uint8, read-only; to be called once. Raises UnusableInput for damaged data.

        A pixel takes seven bytes meanwhile and three afterwards.
        """
        try:
            self.image.load()
            converted = _to_rgb(self.image)
            pixels = np.asarray(converted)
            converted.close()
            self.image.close()
        except UnusableInput:
            raise
        except Exception as error:  # decoders raise whatever their parsing stumbles over
            raise UnusableInput(
                f"The picture is damaged or cut short ({_words(error)}). Regenerate its preview in Immich."
            ) from error
        return pixels


def open_picture(data: bytes | BinaryIO, max_pixels: int) -> OpenedPicture:
    """Reads the header only. Raises UnusableInput for what is no picture, TooLarge above `max_pixels`."""
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        image = Image.open(stream, formats=FORMATS)
    except Exception as error:  # as above
        raise UnusableInput(
            f"The upload is not a picture this worker can read ({_words(error)}). "
            "Send JPEG, WebP, PNG or another format that Pillow decodes."
        ) from error
    width, height = image.size
    if width < 1 or height < 1:
        raise UnusableInput("Image has zero width or height. Send a picture with at least one pixel.")
    if width * height > max_pixels:
        raise TooLarge(
            f"The picture has {width} x {height} pixels, more than {max_pixels:,}. "
            "Send a smaller one, or raise MAX_PIXELS if the machine has the memory."
        )
    return OpenedPicture(image, width, height)


def decode(data: bytes | BinaryIO, max_pixels: int) -> UInt8:
    """Header and pixels at once: H x W x 3 RGB uint8."""
    return open_picture(data, max_pixels).decode()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow clips 16-bit greys to white; the picture is in the upper byte.
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnusableInput("The picture has 32-bit pixels of unknown range. Convert it to 8 bits a channel.")
    if image.mode == "RGB":
        return image
    if image.mode == "P":
        image.info.pop("transparency", None)  # alpha is dropped, and Pillow would warn about it
    return image.convert("RGB")


def _words(error: Exception) -> str:
    # Pillow names the in-memory file object, whose address helps nobody.
    return str(error).split(" <_io")[0] or type(error).__name__
