"""Pixels handed to a CLIP network and a text detector: those of Pillow and the models' processors, or next to them."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import parity_table as parity
import pytest
from PIL import Image
from pillow_resize import pillow_crop, pillow_squash
from text_pages import pages_of

from ml_target.imaging.picture import decode
from ml_target.tasks.clip.resize import shortest_side_crop, squash
from ml_target.tasks.ocr.tiles import tiles, whole
from ml_target.tensors import UInt8

SIZES = (224, 256)
WITHIN_ONE = 0.999
EQUAL_ON_PAGES = 0.9999
BOUND = "≥ 0.999"
MOST = 3
"""Levels apart, anywhere."""
OF_ALL_SIZES = (
    *("portrait page", "landscape page", "tall screenshot", "wide screenshot", "askew page", "long lines"),
    *("large print", "small picture", "panorama"),
)
"""Kinds of pages, one for each size."""
Reference = Callable[[Image.Image, int], UInt8]


@pytest.fixture(scope="module")
def files(photos: Path) -> list[bytes]:
    """The real photos, and recodings of some to WebP, grey and palette, as bytes."""
    jpegs = [file.read_bytes() for file in sorted(photos.glob("*.jpg"))[::2]]
    with Image.open(io.BytesIO(jpegs[0])) as image:
        return [*jpegs, *(_saved(image, mode, kind) for mode, kind in (("RGB", "WEBP"), ("L", "JPEG"), ("P", "PNG")))]


def _saved(image: Image.Image, mode: str, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, kind)
    return buffer.getvalue()


def _open(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        rgb: Image.Image = image.convert("RGB")
    return rgb


def _matrix(length: int, full: int) -> npt.NDArray[np.float64]:
    """Row i: the weights of all `length` source pixels in pixel i of `full`, from the filter's definition."""
    scale = length / full
    stretch = max(scale, 1.0)
    centres = (np.arange(full) + 0.5) * scale
    x = np.abs(np.arange(length) + 0.5 - centres[:, None]) / stretch
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    normed: npt.NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return normed


def _numpy(image: Image.Image, width: int, height: int) -> UInt8:
    """Bicubic in two passes of real numbers, rounded to 8 bits after each."""
    # Contiguous, because older numpy multiplies anything else without BLAS.
    planes = np.ascontiguousarray(np.asarray(image, np.float64).transpose(2, 0, 1))
    across, down = _matrix(image.width, width), _matrix(image.height, height)
    picture: UInt8 = _rounded(down @ _rounded(planes @ across.T)).transpose(1, 2, 0).astype(np.uint8)
    return picture


def _rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.floor(np.clip(values, 0, 255) + 0.5)


def _numpy_squash(image: Image.Image, size: int) -> UInt8:
    return _numpy(image, size, size)


def _numpy_crop(image: Image.Image, size: int) -> UInt8:
    long = int(max(image.size) / min(image.size) * size)
    start = (long - size) // 2
    if image.width < image.height:
        return _numpy(image, size, long)[start : start + size]
    return _numpy(image, long, size)[:, start : start + size]


def _processor(kind: str) -> Reference:
    """Hugging Face's own picture processor of the family, without its normalisation."""
    transformers = pytest.importorskip("transformers")
    # Newer versions name the Pillow variant; older ones have no other.
    processor_type = getattr(transformers, f"{kind}ImageProcessorPil", None) or getattr(
        transformers, f"{kind}ImageProcessor"
    )

    def run(image: Image.Image, size: int) -> UInt8:
        square = {"height": size, "width": size}
        shape = {"size": {"shortest_edge": size}, "crop_size": square} if kind == "CLIP" else {"size": square}
        plain = {"do_rescale": False, "do_normalize": False, "resample": Image.Resampling.BICUBIC}
        planes = processor_type(**shape, **plain)(images=image, return_tensors="np")["pixel_values"][0]
        picture: UInt8 = np.asarray(planes).transpose(1, 2, 0).astype(np.uint8)
        return picture

    return run


@pytest.mark.parametrize("rule", ["squash", "shortest"])
@pytest.mark.parametrize("name", ["Pillow", "Hugging Face"])
def test_photos_equal_pillow_and_the_models_processors(name: str, rule: str, files: list[bytes]) -> None:
    """From the file's bytes to the uint8 tensor, against the reference from the same bytes."""
    expected: Reference
    if name == "Pillow":
        expected = pillow_squash if rule == "squash" else pillow_crop
    else:
        expected = _processor("Siglip" if rule == "squash" else "CLIP")
    _compare(name, rule, files, SIZES, lambda image, ours: expected(image, ours.shape[0]))


@pytest.mark.parametrize("rule", ["squash", "shortest"])
def test_photos_equal_the_filters_definition(rule: str, files: list[bytes]) -> None:
    """The filter written down once more, in real numbers, across first."""
    reference = _numpy_squash if rule == "squash" else _numpy_crop
    _compare("numpy", rule, files[::2], SIZES[:1], lambda image, ours: reference(image, ours.shape[0]))


def _compare(
    name: str, rule: str, files: list[bytes], sizes: Sequence[int], expected: Callable[[Image.Image, UInt8], UInt8]
) -> None:
    ours = squash if rule == "squash" else shortest_side_crop
    least, greatest = 1.0, 0
    for data in files:
        picture, image = decode(data, 10**9), _open(data)
        for size in sizes:
            mine = ours(picture, size)
            assert mine.shape == (size, size, 3)
            assert mine.dtype == np.uint8
            share, most = _apart(mine, expected(image, mine))
            least, greatest = min(least, share), max(greatest, most)
    subject = f"CLIP picture, {rule}, against {name}"
    parity.record(subject, f"values within 1 level, least of {len(files)} photos", least, BOUND)
    parity.record(subject, "levels apart, most", greatest, f"≤ {MOST}")
    assert least >= WITHIN_ONE
    assert greatest <= MOST


def _apart(ours: UInt8, theirs: UInt8, near: int = 1) -> tuple[float, int]:
    """The share of values within `near` levels, and the levels apart of the farthest."""
    difference = np.abs(ours.astype(np.int16) - theirs)
    return float((difference <= near).mean()), int(difference.max())


def test_pages_and_photos_equal_pillows_for_the_text_detector(photos: Path) -> None:
    """At the official worker's scale: real photos and screens, and a drawn page of every size."""
    drawn = [next(iter(pages_of(kind))).picture for kind in OF_ALL_SIZES]
    real = [decode(file.read_bytes(), 10**9) for file in sorted(photos.glob("*.jpg"))]
    least, greatest = 1.0, 0
    for picture in (*drawn, *real):
        tiling = whole(picture.shape[0], picture.shape[1], 736)
        [ours] = tiles(picture, tiling, "RGB")
        image = Image.fromarray(picture).resize(tiling.size[::-1], Image.Resampling.LANCZOS)
        share, most = _apart(ours, np.asarray(image), near=0)
        least, greatest = min(least, share), max(greatest, most)
    subject = f"text picture, {len(drawn)} pages and {len(real)} photos, against Pillow"
    parity.record(subject, "equal values, least", least, f"≥ {EQUAL_ON_PAGES}")
    parity.record(subject, "levels apart, most", greatest, "≤ 1")
    assert least >= EQUAL_ON_PAGES
    assert greatest <= 1
