"""Pictures for the tests: read from files, and made of noise."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ml_target.tensors import UInt8


def read_rgb(path: Path) -> UInt8:
    """The photo as H x W x 3 uint8 RGB, decoded by Pillow alone."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def picture(seed: int = 0, width: int = 64, height: int = 48, form: str = "JPEG", **options: Any) -> bytes:
    """A picture of noise as a file; `options` are Pillow's."""
    pixels = np.random.default_rng(seed).integers(1, 255, (height, width, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **options)
    return stream.getvalue()
