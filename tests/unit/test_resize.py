"""Pixels handed to a CLIP network equal Pillow's, on real photos and on pictures of extreme shape."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import parity_table as parity
import pytest
from PIL import Image

from ml_target.imaging.picture import decode
from ml_target.tasks.clip import resize
from ml_target.tasks.clip.resize import shortest_side_crop, squash
from ml_target.tensors import UInt8

SIZES = (224, 256)
WITHIN_ONE = 0.999
BOUND = "≥ 0.999"
Reference = Callable[[Image.Image, int], UInt8]


@pytest.fixture(scope="module")
def files(photos: Path) -> list[bytes]:
    """The real photos, and recodings of some to WebP, grey and palette, as bytes."""
    jpegs = [file.read_bytes() for file in sorted(photos.glob("*.jpg"))]
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


# ----------------------------------------------------------------- references


def _pillow_squash(image: Image.Image, size: int) -> UInt8:
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def _pillow_crop(image: Image.Image, size: int) -> UInt8:
    """Immich's steps, written out in whole pictures."""
    width, height = image.size
    larger = (size, int(height / width * size)) if width < height else (int(width / height * size), size)
    whole = image.resize(larger, Image.Resampling.BICUBIC)
    left, top = (int(side / 2 - size / 2) for side in larger)
    return np.asarray(whole.crop((left, top, left + size, top + size)))


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


# --------------------------------------------------------------- real photos


@pytest.mark.parametrize("rule", ["squash", "shortest"])
@pytest.mark.parametrize("name", ["Pillow", "Hugging Face"])
def test_photos_equal_pillow_and_the_models_processors(name: str, rule: str, files: list[bytes]) -> None:
    """From the file's bytes to the uint8 tensor, against the reference from the same bytes."""
    expected: Reference
    if name == "Pillow":
        expected = _pillow_squash if rule == "squash" else _pillow_crop
    else:
        expected = _processor("Siglip" if rule == "squash" else "CLIP")
    _compare(name, rule, files, SIZES, lambda image, ours: expected(image, ours.shape[0]))


@pytest.mark.parametrize("rule", ["squash", "shortest"])
def test_photos_equal_the_filters_definition(rule: str, files: list[bytes]) -> None:
    """The filter written down once more, in real numbers, across first."""
    reference = _numpy_squash if rule == "squash" else _numpy_crop
    _compare("numpy", rule, files[::3], SIZES[:1], lambda image, ours: reference(image, ours.shape[0]))


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
            difference = np.abs(mine.astype(np.int16) - expected(image, mine))
            least = min(least, float((difference <= 1).mean()))
            greatest = max(greatest, int(difference.max()))
    subject = f"CLIP picture, {rule}, against {name}"
    parity.record(subject, f"values within 1 level, least of {len(files)} photos", least, BOUND)
    parity.record(subject, "levels apart, most", greatest, "-")
    assert least >= WITHIN_ONE


# ---------------------------------------------------------------- any shape


def _noise(height: int, width: int) -> UInt8:
    return np.random.default_rng(height * 7919 + width).integers(0, 256, (height, width, 3), np.uint8)


SHAPES = [(1, 1), (1, 2), (2, 1), (3, 5), (223, 224), (224, 223), (225, 225), (256, 256), (333, 1000), (1001, 334)]
EXTREME = [(1, 600), (600, 1), (20, 3000), (3000, 20), (225, 24000)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("height", "width"), SHAPES + EXTREME)
def test_every_shape_equals_pillow(height: int, width: int, size: int) -> None:
    """Exactly, on noise, where the smallest slip in the arithmetic would show."""
    picture = _noise(height, width)
    image = Image.fromarray(picture)
    assert (squash(picture, size) == _pillow_squash(image, size)).all()
    assert (shortest_side_crop(picture, size) == _pillow_crop(image, size)).all()


@pytest.mark.parametrize(("height", "width"), [(24000, 230), (50000, 400)])
def test_shrunk_towers_of_pixels_equal_pillow(height: int, width: int) -> None:
    """Very tall pictures that shrink: the order of the passes shows in them, and it is that of Pillow 12.2."""
    picture = _noise(height, width)
    assert (shortest_side_crop(picture, 224) == _pillow_crop(Image.fromarray(picture), 224)).all()


@pytest.mark.parametrize(("height", "width"), [*SHAPES, (400, 900), (900, 400)])
def test_the_panorama_path_equals_the_whole_one(height: int, width: int) -> None:
    """Where both can be computed they agree, so the limit between them is about memory alone."""
    picture = _smooth(height, width)
    ours = resize._crop_of_panorama(picture, 224).astype(np.int16)
    assert (np.abs(ours - shortest_side_crop(picture, 224)) <= 1).mean() >= WITHIN_ONE


def _smooth(height: int, width: int) -> UInt8:
    """Waves without clipping, so that the order of the two passes can matter by a rounding only."""
    y, x = np.ogrid[:height, :width]
    waves = 128 + 60 * np.sin(x / 9.0) + 60 * np.cos(y / 7.0)
    return np.repeat(waves[..., None], 3, 2).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width"), [(20, 20_000), (1, 5000), (5000, 1), (1, 2_000_000), (2_000_000, 1), (1_000_000, 8)]
)
def test_panoramas_need_no_memory_for_what_is_cut_away(height: int, width: int) -> None:
    """Whole, these would be 200 MB to 400 GB."""
    picture = np.full((height, width, 3), 77, np.uint8)
    assert (shortest_side_crop(picture, 224) == 77).all()


def test_input_is_left_alone() -> None:
    picture = _noise(50, 70)
    before = picture.copy()
    squash(picture, 224)
    shortest_side_crop(picture, 224)
    assert (picture == before).all()


def test_views_are_taken_as_they_look() -> None:
    """Pictures that are not contiguous in memory."""
    picture = _noise(300, 400)[::2, ::-1]
    assert (squash(picture, 224) == squash(np.ascontiguousarray(picture), 224)).all()
    assert (shortest_side_crop(picture, 224) == shortest_side_crop(np.ascontiguousarray(picture), 224)).all()
