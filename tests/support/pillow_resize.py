"""How pictures are prepared for CLIP, by Pillow alone: the reference of the resizing."""

import numpy as np
from PIL import Image

from ml_target.tensors import UInt8


def pillow_squash(image: Image.Image, size: int) -> UInt8:
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def pillow_crop(image: Image.Image, size: int) -> UInt8:
    """Immich's steps, written out in whole pictures."""
    width, height = image.size
    larger = (size, int(height / width * size)) if width < height else (int(width / height * size), size)
    whole = image.resize(larger, Image.Resampling.BICUBIC)
    left, top = (int(side / 2 - size / 2) for side in larger)
    return np.asarray(whole.crop((left, top, left + size, top + size)))
